//! The room's name, the link that shares it, and the form that changes it. Never goes anywhere itself: it
//! dispatches "room-chosen".

import { setText } from "../dom.js";
import { MAX_ROOM_BYTES, normalizeRoom, roomFault } from "../room-link.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** Properties: `room`, `link`, `canCopy`. Dispatches "room-chosen" with `{ room }`, normalised and of fair length. */
export class RoomBar extends LocalizedElement {
  #room = null;
  #link = "";
  #canCopy = false;
  #fault = null;
  #copied = null;

  set room(room) {
    if (room === this.#room) return;
    this.#room = room;
    this.invalidate();
  }

  set link(link) {
    if (link === this.#link) return;
    this.#link = link;
    this.invalidate();
  }

  set canCopy(canCopy) {
    this.#canCopy = canCopy;
    this.invalidate();
  }

  connectedCallback() {
    super.connectedCallback();
    this.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      this.#choose();
    };
    this.querySelector("#room-name").oninput = () => this.#setFault(null);
    this.querySelector("#room-link").onfocus = (event) => event.target.select();
    this.querySelector(".copy").onclick = () => this.#copy();
  }

  render() {
    setText(this.querySelector(".room-name"), this.#room ?? "…");
    this.querySelector("#room-link").value = this.#link;
    this.querySelector(".copy").hidden = !this.#canCopy;
    setText(this.querySelector("#room-error"), this.#fault === null ? "" : say(...this.#fault));
    setText(this.querySelector(".copied"), this.#copied === null ? "" : say(this.#copied));
  }

  #choose() {
    const field = this.querySelector("#room-name");
    const room = normalizeRoom(field.value);
    const fault = roomFault(room);
    if (fault !== null) {
      const found = new TextEncoder().encode(room).length;
      this.#setFault([`room.${fault}`, { max: MAX_ROOM_BYTES, found }]);
      field.focus();
      return;
    }
    this.dispatchEvent(new CustomEvent("room-chosen", { detail: { room } }));
  }

  #setFault(fault) {
    this.#fault = fault;
    const field = this.querySelector("#room-name");
    if (fault === null) field.removeAttribute("aria-invalid");
    else field.setAttribute("aria-invalid", "true");
    this.render();
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#link);
      this.#copied = "room.copied";
    } catch {
      this.#copied = "room.copyRefused";
      this.querySelector("#room-link").focus();
    }
    this.invalidate();
  }
}

customElements.define("room-bar", RoomBar);
