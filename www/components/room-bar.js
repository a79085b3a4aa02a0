//! The room's name, and the dialog to share it (link, QR code, the system's share sheet) or to change it. Does not
//! navigate: it dispatches "room-chosen".

import { closeOnBackdropClick, element, setText, svgElement } from "../dom.js";
import { qrPath } from "../qr-path.js";
import { MAX_ROOM_BYTES, isLocalOnly, normalizeRoom, roomFault } from "../room-link.js";
import { shownInSentence, shownText } from "../shown-text.js";
import { say } from "../strings.js";
import { LocalizedElement } from "./localized-element.js";

/** The relay option that lets other computers connect. Users type it, so it must not break across lines. */
const LISTEN_EVERYWHERE = "--listen-ip 0.0.0.0";

/**
 * Properties: `room`, `link`, `canCopy`, `canShare`, `makeCode` (returns the modules of a link's QR code). Dispatches
 * "room-chosen" with `{ room }`, normalized and of valid length.
 */
export class RoomBar extends LocalizedElement {
  makeCode = null;
  #room = null;
  #link = "";
  #drawnLink = null;
  #canCopy = false;
  #canShare = false;
  #fault = null;
  #message = null;

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
      this.#message = null;
      dialog.showModal();
      this.render();
    };
    this.querySelector(".dialog-close").onclick = () => dialog.close();
    closeOnBackdropClick(dialog);
  }

  render() {
    const shown = shownText(this.#room ?? "");
    for (const name of this.querySelectorAll(".room-name")) {
      setText(name, shown || "…");
      name.title = shown;
    }
    this.querySelector("#room-link").value = this.#link;
    for (const part of this.querySelectorAll(".room-share, .qr-frame, .room-sharing")) part.hidden = this.#link === "";
    this.#showLocalOnlyHint();
    this.querySelector(".copy").hidden = !this.#canCopy;
    this.querySelector(".share").hidden = !this.#canShare;
    setText(this.querySelector("#room-error"), this.#fault === null ? "" : say(...this.#fault));
    setText(this.querySelector(".copied"), this.#message === null ? "" : say(this.#message));
    if (this.querySelector("dialog").open) this.#drawCode();
  }

  #showLocalOnlyHint() {
    const line = this.querySelector(".room-only-here");
    line.hidden = this.#link === "" || !isLocalOnly(this.#link);
    const hint = say("room.onlyHere", { option: LISTEN_EVERYWHERE });
    if (line.textContent === hint) return;
    const [before, after] = hint.split(LISTEN_EVERYWHERE);
    line.replaceChildren(before, element("code", {}, LISTEN_EVERYWHERE), after);
  }

  #drawCode() {
    if (this.#link === "" || this.makeCode === null || this.#drawnLink === this.#link) return;
    this.#drawnLink = this.#link;
    const picture = this.querySelector(".qr");
    const modules = this.makeCode(this.#link);
    // A link with many relays may be too long for a QR code. It can still be copied.
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
      this.#message = "room.copied";
    } catch {
      this.#message = "room.copyRefused";
      this.querySelector("#room-link").focus();
    }
    this.invalidate();
  }

  async #share() {
    try {
      await navigator.share({ title: say("room.shareTitle", { room: shownInSentence(this.#room ?? "") }), url: this.#link });
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#message = "room.shareRefused";
      this.invalidate();
    }
  }
}

customElements.define("room-bar", RoomBar);
