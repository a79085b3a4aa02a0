//! The dialog "Rooms on this device": the list of rooms, and how to delete one, to move this tab's author to another device, and
//! to bring one from there. Deletes and moves nothing itself.

import { LocalizedElement, closeOnBackdropClick, element, reconcile, setText } from "../dom.js";
import { MAX_ROOM_BYTES, normalizeRoom, roomFault } from "../input.js";
import { errorMessage, shownInSentence, shownText } from "../messages.js";
import { MIN_PASSPHRASE_LETTERS } from "../rooms/device-rooms.js";
import { formatBytes, formatMoment, say } from "../strings.js";

/** Errors of the node that have a sentence of their own here, by their code. */
const CODES = ["room-open", "not-moved", "wrong-passphrase", "not-a-move-file"];

/**
 * Property: `state`, of `DeviceRooms`. `open()` shows it. Dispatches "rooms-shown" and "rooms-hidden", "room-opened" with `{ link, genesis }`,
 * "room-renamed" with `{ genesis, label }`, "room-deleted" with `{ genesis }`, "move-requested" with `{ passphrase }`,
 * "move-confirmed", and "import-requested" with `{ file, passphrase }`.
 */
export class RoomsDialog extends LocalizedElement {
  #state = null;
  /** What a person wants to do with a room: one thing at a time. */
  #task = { genesis: null, kind: null };
  /** @type {(() => string) | null} what is wrong with what was typed, in the current language */
  #typed = null;
  /** What each row shows, so that a row is made again only if that changes. */
  #shown = new WeakMap();

  set state(state) {
    this.#state = state;
    this.invalidate();
  }

  open() {
    if (this.#dialog.open) return;
    this.#begin(null, null);
    this.#dialog.showModal();
    this.dispatchEvent(new Event("rooms-shown"));
  }

  connectedCallback() {
    if (this.childElementCount === 0) this.append(frame());
    super.connectedCallback();
    const dialog = this.#dialog;
    this.querySelector(".dialog-close").onclick = () => dialog.close();
    dialog.onclose = () => {
      for (const field of this.querySelectorAll("[type=password], [type=file]")) field.value = "";
      this.dispatchEvent(new Event("rooms-hidden"));
    };
    closeOnBackdropClick(dialog);
    const form = this.querySelector(".import-form");
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#bring(form);
    };
    form.oninput = () => this.#setTyped(null);
  }

  languageChanged() {
    this.querySelector(".stored-rooms").replaceChildren();
    this.#shown = new WeakMap();
  }

  render() {
    if (this.#state === null) return;
    const { rooms, failure, busy, fault, imported } = this.#state;
    setText(this.querySelector("h2"), say("rooms.heading"));
    setText(this.querySelector(".dialog-close"), say("dialog.close"));
    setText(this.querySelector(".rooms-what"), say(rooms === null ? "rooms.loading" : rooms.length === 0 ? "rooms.none" : "rooms.what"));
    setText(this.querySelector(".rooms-failure"), failure === null ? "" : say("rooms.unlisted", { reason: errorMessage(failure) }));
    reconcile(this.querySelector(".stored-rooms"), rooms ?? [], ({ genesis }) => genesis, () => element("li", { class: "stored-room" }), () => {});
    for (const room of rooms ?? []) this.#showRoom(this.querySelector(`[data-key="${room.genesis}"]`), room);
    this.#showImport(busy, fault, imported);
    // Not disabled meanwhile: a button that is disabled loses the focus.
    this.#dialog.setAttribute("aria-busy", String(busy !== null));
    // What had the focus is gone, such as a deleted room.
    if (this.#dialog.open && !this.#dialog.contains(document.activeElement)) this.querySelector(".dialog-close").focus();
  }

  get #dialog() {
    return this.querySelector("dialog");
  }

  #showRoom(item, room) {
    const { current, ended } = this.#state;
    const isHere = room.genesis === current;
    const kind = this.#task.genesis === room.genesis ? this.#task.kind : null;
    // Not on the element: the link of a private room is its key.
    const shown = JSON.stringify([room, isHere, kind, ended]);
    if (this.#shown.get(item) !== shown) {
      this.#shown.set(item, shown);
      const hadFocus = item.contains(document.activeElement);
      item.replaceChildren(...this.#head(room, isHere));
      if (kind !== null) item.append(this.#taskForm(kind, room));
      if (hadFocus) item.querySelector(".button-row button").focus();
    }
    if (kind !== null) this.#showTask(item, kind, room);
  }

  #head(room, isHere) {
    const name = nameOf(room);
    const { ended } = this.#state;
    const badges = [say(room.private ? "rooms.privateKind" : "rooms.openKind")];
    if (isHere) badges.push(say("rooms.here"));
    else if (room.open) badges.push(say("rooms.elsewhere"));
    const facts = [say("rooms.readings", room)];
    if (room.bytes !== null && room.bytes > 0) facts.push(formatBytes(room.bytes));
    if (room.lastOpened > 0) facts.push(say("rooms.opened", { time: formatMoment(room.lastOpened, Date.now()) }));
    const button = (key, label, work, style = "quiet") => {
      const made = element("button", { type: "button", class: style, "aria-label": say(label, { room: shownInSentence(name) }) }, say(key));
      made.onclick = work;
      return made;
    };
    const start = (kind) => () => this.#begin(room.genesis, kind);
    const buttons = [];
    if (!isHere && room.link !== null) buttons.push(button("rooms.open", "rooms.openOf", () => this.#send("room-opened", room)));
    if (room.private) buttons.push(button("rooms.rename", "rooms.renameOf", start("rename")));
    if (isHere && !ended) buttons.push(button("move.start", "move.title", start("move")));
    buttons.push(button("rooms.delete", "rooms.deleteOf", start("delete")));
    return [
      element(
        "h3",
        {},
        element("bdi", { class: "room-name" }, shownText(name)),
        ...badges.flatMap((badge) => [" ", element("span", { class: "badge" }, badge)]),
      ),
      element("p", { class: "hint" }, facts.join(" · ")),
      element("div", { class: "button-row" }, ...buttons),
    ];
  }

  #taskForm(kind, room) {
    const form = element("form", { class: "room-task", novalidate: true });
    const submit = (style) => element("button", { type: "submit", class: style });
    const cancel = element("button", { type: "button", class: "quiet task-cancel" }, say("rooms.cancel"));
    cancel.onclick = () => this.#begin(null, null);
    const problem = element("p", { class: "error", "aria-live": "assertive" });
    const buttons = (...made) => element("div", { class: "button-row" }, ...made);
    form.oninput = () => this.#setTyped(null);
    if (kind === "rename") {
      const field = element("input", { id: "stored-label", type: "text", dir: "auto", autocomplete: "off", spellcheck: "false" });
      field.value = room.label ?? "";
      form.append(element("label", { for: "stored-label" }, say("rooms.label")), field, problem, buttons(submit("primary"), cancel));
    } else if (kind === "delete") {
      const name = shownInSentence(nameOf(room));
      form.append(element("h4", {}, say("rooms.deleteTitle", { room: name })), element("p", {}, say("rooms.deleteWhat")));
      form.append(element("p", {}, say("rooms.deleteUnshared")));
      if (room.private) form.append(element("p", {}, say("rooms.deleteLink")));
      form.append(problem, buttons(submit("danger"), cancel));
    } else {
      const [first, second] = ["move-passphrase", "move-repeat"].map((id) => element("input", { id, type: "password", autocomplete: "new-password" }));
      form.append(
        element("h4", {}, say("move.title")),
        element("p", { class: "move-what", "aria-live": "polite" }),
        account(),
        element(
          "div",
          { class: "move-fields" },
          element("div", {}, element("label", { for: first.id }, say("move.passphrase")), first),
          element("div", {}, element("label", { for: second.id }, say("move.repeat")), second),
        ),
        problem,
        buttons(element("button", { type: "button", class: "primary move-confirm" }, say("move.confirm")), submit("primary"), cancel),
      );
      form.querySelector(".move-confirm").onclick = () => this.#send("move-confirmed");
    }
    form.onsubmit = (event) => {
      event.preventDefault();
      this.#submit(kind, room, form);
    };
    return form;
  }

  /** What changes while a person is at it. */
  #showTask(item, kind, { genesis }) {
    const { busy, fault, move, ended } = this.#state;
    const form = item.querySelector(".room-task");
    const submit = form.querySelector("[type=submit]");
    const failed = fault?.genesis === genesis ? reasonOf(fault.error) : "";
    setText(form.querySelector(".error"), this.#typed?.() ?? failed);
    if (kind !== "move") {
      setText(submit, say(kind === "rename" ? "rooms.save" : "rooms.deleteNow"));
      return;
    }
    const what = { null: "move.what", locked: "move.locked", retired: "move.retired" }[move];
    setText(form.querySelector(".move-what"), say(busy === "lock" ? "move.locking" : what));
    form.querySelector(".move-fields").hidden = move === "retired";
    form.querySelector(".move-confirm").hidden = move !== "locked";
    submit.classList.toggle("primary", move !== "locked");
    setText(submit, say({ null: "move.lock", locked: "move.again", retired: "move.continue" }[move]));
    const cancel = form.querySelector(".task-cancel");
    cancel.hidden = ended;
    setText(cancel, say(move === "locked" ? "move.later" : "rooms.cancel"));
  }

  #submit(kind, { genesis }, form) {
    if (kind === "delete") {
      this.#send("room-deleted", { genesis });
      return;
    }
    if (kind === "rename") {
      const field = form.querySelector("input");
      const label = normalizeRoom(field.value);
      const fault = label === "" ? null : roomFault(label);
      if (fault !== null) {
        const found = new TextEncoder().encode(label).length;
        this.#setTyped(() => say(`room.${fault}`, { max: MAX_ROOM_BYTES, found }), field);
        return;
      }
      this.#send("room-renamed", { genesis, label });
      this.#begin(null, null);
      return;
    }
    if (this.#state.move === "retired") {
      this.#dialog.close();
      return;
    }
    const [first, second] = form.querySelectorAll("[type=password]");
    if ([...first.value].length < MIN_PASSPHRASE_LETTERS) this.#setTyped(() => say("move.short", { min: MIN_PASSPHRASE_LETTERS }), first);
    else if (first.value !== second.value) this.#setTyped(() => say("move.differs"), second);
    else this.#send("move-requested", { passphrase: first.value });
  }

  #showImport(busy, fault, imported) {
    const form = this.querySelector(".import-form");
    const text = (selector, key) => setText(form.querySelector(selector), say(key));
    text("h3", "import.title");
    text(".hint", "import.what");
    text("[for=move-file]", "import.file");
    text("[for=import-passphrase]", "move.passphrase");
    text("[type=submit]", "import.button");
    const failed = fault !== null && fault.genesis === null ? reasonOf(fault.error) : "";
    const typed = this.#task.kind === null ? this.#typed?.() : undefined;
    setText(form.querySelector(".error"), typed ?? failed);
    setText(form.querySelector(".import-done"), busy === "bring" ? say("import.busy") : imported === null ? "" : say("import.done", imported));
    const open = form.querySelector(".import-open");
    open.hidden = imported === null;
    text(".import-open", "import.open");
    open.onclick = () => this.#send("room-opened", imported);
  }

  #bring(form) {
    this.#begin(null, null);
    const [file] = form.querySelector("[type=file]").files;
    const field = form.querySelector("[type=password]");
    if (file === undefined) this.#setTyped(() => say("import.noFile"), form.querySelector("[type=file]"));
    else if (field.value === "") this.#setTyped(() => say("import.noPassphrase"), field);
    else this.#send("import-requested", { file, passphrase: field.value });
  }

  /** Shows the form for a task, or none; continues at the button that began the last one. */
  #begin(genesis, kind) {
    const before = this.#task;
    this.#task = { genesis, kind };
    this.#typed = null;
    this.render();
    const row = (key) => this.querySelector(`[data-key="${key}"]`);
    if (kind !== null) row(genesis).querySelector(".room-task input, .room-task .task-cancel")?.focus();
    else if (before.kind !== null) row(before.genesis)?.querySelector(".button-row button:last-child")?.focus();
  }

  #setTyped(typed, field = null) {
    this.#typed = typed;
    for (const one of this.querySelectorAll("input")) {
      if (one === field) one.setAttribute("aria-invalid", "true");
      else one.removeAttribute("aria-invalid");
    }
    field?.focus();
    this.render();
  }

  #send(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

customElements.define("rooms-dialog", RoomsDialog);

/** What a person calls a room. */
function nameOf({ room, label, private: isPrivate }) {
  return room ?? (label || say(isPrivate ? "room.unlabelled" : "rooms.unnamed"));
}

function reasonOf(error) {
  return CODES.includes(error?.code) ? say(`rooms.error.${error.code}`) : say("rooms.failed", { reason: errorMessage(error) });
}

/** What a password manager calls the passphrase. */
function account() {
  return element("input", { type: "text", name: "account", autocomplete: "username", value: "Heartchain", hidden: true });
}

function frame() {
  const field = (id, attributes) => element("div", {}, element("label", { for: id }), element("input", { id, ...attributes }));
  return element(
    "dialog",
    { "aria-labelledby": "rooms-heading" },
    element("div", { class: "dialog-head" }, element("h2", { id: "rooms-heading" }), element("button", { type: "button", class: "quiet dialog-close" })),
    element("p", { class: "hint rooms-what", role: "status" }),
    element("p", { class: "error rooms-failure", "aria-live": "polite" }),
    element("ul", { class: "stored-rooms", role: "list" }),
    element(
      "form",
      { class: "import-form", novalidate: true },
      element("h3"),
      element("p", { class: "hint" }),
      account(),
      element("div", { class: "move-fields" }, field("move-file", { type: "file" }), field("import-passphrase", { type: "password", autocomplete: "off" })),
      element("p", { class: "error", "aria-live": "assertive" }),
      element("p", { class: "import-done", role: "status" }),
      element(
        "div",
        { class: "button-row" },
        element("button", { type: "submit" }),
        element("button", { type: "button", class: "primary import-open", hidden: true }),
      ),
    ),
  );
}
