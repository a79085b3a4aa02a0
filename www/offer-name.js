//! Offers to choose the name by which others see this tab's author: joins a `<your-name>` with the node, which publishes the name.
//! Asks once in each room, after the first reading.

import { chosenName } from "./authors.js";
import "./components/your-name.js";

/** The key of the rooms in which the person was asked is this and the room's genesis. Deleting a room deletes it, too. */
export const ASKED_KEY = "heartchain.name-asked.";

/**
 * @param {HTMLElement} line a `<your-name>`
 * @param {object} node
 * @param {(work: () => void) => () => void} soon coalesces redraws
 */
export function offerName(line, node, soon) {
  const { genesis } = node.status();
  let asked = wasAsked(genesis);
  const show = soon(() => {
    const { author } = node.status();
    const name = chosenName(author);
    const hasRecorded = node.ownReadings(1).length > 0;
    if (name !== "" || hasRecorded) line.own = { author, name, asks: !asked && name === "" };
  });
  for (const type of ["names", "reading", "chain", "status"]) node.addEventListener(type, show);
  line.addEventListener("name-chosen", async ({ detail: { name } }) => {
    try {
      await node.setName(name);
      line.saved();
    } catch (error) {
      line.failed(error);
    }
  });
  line.addEventListener("name-settled", () => {
    asked = true;
    rememberAsked(genesis);
    show();
  });
  show();
}

/** Not if storage is blocked: the person is then asked at each visit. */
function wasAsked(genesis) {
  try {
    return localStorage.getItem(ASKED_KEY + genesis) !== null;
  } catch {
    return false;
  }
}

function rememberAsked(genesis) {
  try {
    localStorage.setItem(ASKED_KEY + genesis, "yes");
  } catch {
    // It is remembered for this visit only.
  }
}

/** Forgets whether the person was asked in a room. */
export function forgetAsked(genesis) {
  try {
    localStorage.removeItem(ASKED_KEY + genesis);
  } catch {
    // Then nothing was remembered either.
  }
}
