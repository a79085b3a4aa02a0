//! The page of the example: starts the peer, dials the tab named in the page's address, and shows the messages.

import init, { Tab } from "./two_tabs.js";

const status = document.querySelector("[role=status]");
const lines = document.querySelector("ol");

function show(line) {
  const item = document.createElement("li");
  item.textContent = line;
  lines.append(item);
}

await init();
const relay = await (await fetch("relay")).text();
const tab = new Tab(relay, (kind, text) => {
  if (kind === "reachable") {
    const link = document.querySelector("a");
    link.href = `#${encodeURIComponent(text)}`;
    link.hidden = false;
    status.textContent = "Waiting for another tab.";
    const other = decodeURIComponent(location.hash.slice(1));
    if (other) tab.call(other);
  } else if (kind === "said") {
    show(`They: ${text}`);
  } else {
    status.textContent = text;
  }
});
document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const { line } = event.target.elements;
  tab.say(line.value);
  show(`I: ${line.value}`);
  line.value = "";
});
