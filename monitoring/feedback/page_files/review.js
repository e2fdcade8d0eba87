"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const rows = new Map(data.rows.map(row => [row.id, row]));
const shown = data.shown.map(id => rows.get(id));
const [cards, order, undecided] = ["cards", "order", "undecided"].map(id => document.getElementById(id));
let saved = true;

// The probability that the label is wrong, if the model is to be believed.
const doubt = row => row.predicted === row.label ? 1 - row.probability : Number(row.probability);
const ORDERS = {
  doubt: (a, b) => (a.conflict === "") - (b.conflict === "") || (a.conflict ? compare(a.sha256, b.sha256) : 0) || doubt(b) - doubt(a),
  day: (a, b) => compare(b.day, a.day) || compare(a.sha256, b.sha256),
  label: (a, b) => compare(a.label, b.label) || doubt(b) - doubt(a),
};

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function decide(row, decision, card) {
  row.decision = row.decision === decision ? "" : decision;
  saved = false;
  card.replaceWith(draw(row));
  count();
}

function draw(row) {
  const card = element("article", {className: `${row.conflict ? "conflict" : ""} ${row.decision ? "decided" : ""}`});
  card.dataset.id = row.id;
  const thumbnail = data.thumbnails[row.id];
  card.append(thumbnail
    ? element("img", {src: `data:image/jpeg;base64,${thumbnail}`, alt: `picture ${row.id.slice(0, 8)}`})
    : element("p", {className: "none"}, "no picture"));
  card.append(element("p", {}, "user: ", element("strong", {}, row.label)),
    element("p", {}, `model: ${row.predicted} ${Number(row.probability).toFixed(3)}`),
    element("p", {}, element("small", {}, `${row.day}, version ${row.model_version}, doubt ${doubt(row).toFixed(2)}`)));
  if (row.conflict) {
    card.append(element("p", {className: "warning"}, `Several labels from users: ${row.conflict}`));
  }
  const choice = (decision, text) => {
    const button = element("button", {type: "button"}, text);
    button.setAttribute("aria-pressed", String(row.decision === decision));
    button.addEventListener("click", () => decide(row, decision, card));
    return button;
  };
  const buttons = element("div", {className: "buttons"});
  // Without a picture nobody can tell whether a label is right.
  if (thumbnail) {
    buttons.append(choice("accept", `accept: ${row.label}`));
  }
  buttons.append(choice("reject", "reject"));
  const others = data.labels.filter(label => label !== row.label);
  if (thumbnail && others.length <= 4) {
    buttons.append(...others.map(label => choice(label, `it is: ${label}`)));
  } else if (thumbnail) {
    const select = element("select", {}, element("option", {value: ""}, "it is…"),
      ...others.map(label => element("option", {value: label, selected: row.decision === label}, label)));
    select.addEventListener("change", () => decide(row, select.value, card));
    buttons.append(select);
  }
  card.append(buttons);
  return card;
}

function count() {
  const decided = shown.filter(row => row.decision).length;
  document.getElementById("count").textContent = `${decided} of ${shown.length} decided`;
}

function show() {
  const chosen = shown.filter(row => !undecided.checked || !row.decision).sort(ORDERS[order.value]);
  cards.replaceChildren(...chosen.map(draw));
  count();
}

function csv() {
  const cell = text => /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const lines = data.rows.map(row => data.columns.map(column => cell(row[column])).join(","));
  return [data.columns.join(","), ...lines, ""].join("\n");
}

document.getElementById("save").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob([csv()], {type: "text/csv"}));
  element("a", {href: url, download: "review.csv"}).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  saved = true;
});
order.addEventListener("change", show);
undecided.addEventListener("change", show);
window.addEventListener("beforeunload", event => {
  if (!saved) {
    event.preventDefault();
  }
});
show();
