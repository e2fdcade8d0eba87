// Short names for what the page does with its elements.

export const byId = (id) => document.getElementById(id);

export function show(id, visible) {
  byId(id).hidden = !visible;
}

// Returns a new element with these properties and children.
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}
