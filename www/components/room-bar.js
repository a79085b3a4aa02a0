//! The room's name, and the dialog that shares it (link, QR code, the system's own way) or changes it. Never goes
//! anywhere itself: it dispatches "room-chosen".

import { closeByPressBeside, element, setText, svgElement } from "../dom.js";
import { qrPath } from "../qr-path.js";
import { MAX_ROOM_BYTES, isOnlyHere, normalizeRoom, roomFault } from "../room-link.js";
import { shownInSentence, shownText } from "../shown-text.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** What lets other computers in: typed as it stands, so no line ends within it. */
const LISTEN_EVERYWHERE = "--listen-ip 0.0.0.0";

/**
 * Properties: `room`, `link`, `canCopy`, `canShare`, `makeCode` (a link to the modules of its QR code). Dispatches
 * "room-chosen" with `{ room }`, normalised and of fair length.
 */
export class RoomBar extends LocalizedElement {
  makeCode = null;
  #room = null;
  #link = "";
  #drawnLink = null;
  #canCopy = false;
  #canShare = false;
  #fault = null;
  #told = null;

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

  set canShare(canShare) {
    this.#canShare = canShare;
    this.invalidate();
  }

  connectedCallback() {
    super.connectedCallback();
    const dialog = this.querySelector("dialog");
    this.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      this.#choose();
    };
    this.querySelector("#room-name").oninput = () => this.#setFault(null);
    this.querySelector("#room-link").onfocus = (event) => event.target.select();
    this.querySelector(".copy").onclick = () => this.#copy();
    this.querySelector(".share").onclick = () => this.#share();
    this.querySelector(".room-open").onclick = () => {
      this.#told = null;
      dialog.showModal();
      this.render();
    };
    this.querySelector(".dialog-close").onclick = () => dialog.close();
    closeByPressBeside(dialog);
  }

  render() {
    const shown = shownText(this.#room ?? "");
    for (const name of this.querySelectorAll(".room-name")) {
      setText(name, shown || "…");
      name.title = shown;
    }
    this.querySelector("#room-link").value = this.#link;
    for (const part of this.querySelectorAll(".room-share, .qr-frame, .room-sharing")) part.hidden = this.#link === "";
    this.#sayOnlyHere();
    this.querySelector(".copy").hidden = !this.#canCopy;
    this.querySelector(".share").hidden = !this.#canShare;
    setText(this.querySelector("#room-error"), this.#fault === null ? "" : say(...this.#fault));
    setText(this.querySelector(".copied"), this.#told === null ? "" : say(this.#told));
    if (this.querySelector("dialog").open) this.#drawCode();
  }

  #sayOnlyHere() {
    const line = this.querySelector(".room-only-here");
    line.hidden = this.#link === "" || !isOnlyHere(this.#link);
    const said = say("room.onlyHere", { option: LISTEN_EVERYWHERE });
    if (line.textContent === said) return;
    const [before, after] = said.split(LISTEN_EVERYWHERE);
    line.replaceChildren(before, element("code", {}, LISTEN_EVERYWHERE), after);
  }

  #drawCode() {
    if (this.#link === "" || this.makeCode === null || this.#drawnLink === this.#link) return;
    this.#drawnLink = this.#link;
    const picture = this.querySelector(".qr");
    const modules = this.makeCode(this.#link);
    // A link that names many relays may be longer than a code can say; it can still be copied.
    picture.parentElement.hidden = modules === null;
    if (modules === null) return;
    const { size, path } = qrPath(modules);
    picture.setAttribute("viewBox", `0 0 ${size} ${size}`);
    picture.replaceChildren(svgElement("rect", { width: size, height: size, fill: "#fff" }), svgElement("path", { d: path, fill: "#000" }));
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
    this.querySelector("dialog").close();
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
      this.#told = "room.copied";
    } catch {
      this.#told = "room.copyRefused";
      this.querySelector("#room-link").focus();
    }
    this.invalidate();
  }

  async #share() {
    try {
      await navigator.share({ title: say("room.shareTitle", { room: shownInSentence(this.#room ?? "") }), url: this.#link });
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#told = "room.shareRefused";
      this.invalidate();
    }
  }
}

customElements.define("room-bar", RoomBar);
