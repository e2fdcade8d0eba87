// Whether large photographs are scaled before they are sent: a switch, on by itself where uploads are slow.

import { byId, show } from "./dom.js";

const SLOW = 250_000;  // bytes per second: 2 Mbit/s
const MIN_BYTES = 100_000;  // of an upload, so that its rate says something

let chosen = false;  // whether somebody has set the switch, which is then left alone

export function isScaling() {
  return byId("scale").checked;
}

export function offerScaling() {
  show("scaling", true);
  byId("scale").addEventListener("change", () => { chosen = true; byId("slow").textContent = ""; });
  const connection = navigator.connection;
  const judge = () => {
    if (connection.saveData || /2g|3g/.test(connection.effectiveType ?? "")) turnOn();
  };
  if (!connection) return;
  judge();
  connection.addEventListener?.("change", judge);
}

// Learns from an upload, of which some bytes have been sent in some milliseconds.
export function noteUpload(bytes, milliseconds) {
  if (bytes >= MIN_BYTES && bytes / (milliseconds / 1000) < SLOW) turnOn();
}

function turnOn() {
  if (chosen || byId("scale").checked) return;
  byId("scale").checked = true;
  byId("slow").textContent = "Turned on because your connection is slow.";
}
