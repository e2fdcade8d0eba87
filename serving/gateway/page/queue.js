// Pictures that wait to be asked about, a few at a time.

export class Queue {
  #waiting = [];
  #running = new Map();  // the controller of each request, by picture
  #paused = false;
  #work;
  #atOnce;

  // `work` takes a picture and an AbortSignal, and returns a promise that is never rejected.
  constructor(work, atOnce) {
    this.#work = work;
    this.#atOnce = atOnce;
  }

  add(pictures) {
    this.#waiting.push(...pictures);
    this.#fill();
  }

  // Puts a picture before all others that wait, since somebody looks at it.
  addFirst(picture) {
    this.#waiting.unshift(picture);
    this.#fill();
  }

  pause() {
    this.#paused = true;
  }

  resume() {
    this.#paused = false;
    this.#fill();
  }

  // Takes these pictures out, and returns those that had not begun.
  cancel(pictures) {
    const chosen = new Set(pictures);
    const unbegun = this.#waiting.filter((picture) => chosen.has(picture));
    this.#waiting = this.#waiting.filter((picture) => !chosen.has(picture));
    for (const [picture, controller] of this.#running) if (chosen.has(picture)) controller.abort();
    return unbegun;
  }

  #fill() {
    while (!this.#paused && this.#running.size < this.#atOnce && this.#waiting.length) {
      const picture = this.#waiting.shift();
      const controller = new AbortController();
      this.#running.set(picture, controller);
      this.#work(picture, controller.signal).finally(() => {
        if (this.#running.get(picture) === controller) this.#running.delete(picture);
        this.#fill();
      });
    }
  }
}
