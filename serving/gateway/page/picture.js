// A picture and the state of its prediction.

export const WAITING = "waiting";
export const SENDING = "sending";
export const ANSWERED = "answered";
export const FAILED = "failed";
export const CANCELLED = "cancelled";

// Statuses after which the same picture may be answered: the server was away or busy.
const TRANSIENT = new Set([0, 429, 502, 503, 504]);

export class Picture {
  constructor(file, name = file.webkitRelativePath || file.name || "picture") {
    this.file = file;
    this.name = name;
    this.status = WAITING;
    this.sent = null;  // the bytes that were asked about, which scaling and conversion make others than the file's
    this.note = "";  // a sentence about what was done to it before it was sent
    this.fraction = 0;  // how much of it has been sent
    this.answer = null;
    this.error = null;
    this.milliseconds = 0;
    this.thumbnail = null;  // address of a small copy
    this.thanks = "";  // what was said to its feedback
  }

  get isPending() {
    return this.status === WAITING || this.status === SENDING;
  }

  get canBeTriedAgain() {
    return this.status === CANCELLED || (this.status === FAILED && TRANSIENT.has(this.error.status));
  }
}
