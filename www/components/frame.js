//! The components around the readings: the node's status, the language, the room, notices, the lessons' switch, and
//! export and import.

import { authorChanges, nameText } from "../authors.js";
import { LocalizedElement, closeOnBackdropClick, element, reconcile, setText, svgElement } from "../dom.js";
import { qrPath } from "../geometry.js";
import { MAX_ROOM_BYTES, isLocalOnly, normalizeRoom, roomFromText } from "../input.js";
import { SEPARATOR, errorMessage, messageValues, noticeMessage, shownInSentence, shownText, statusSentence } from "../messages.js";
import { LANGUAGES, formatDuration, formatTime, language, say } from "../strings.js";

// The state of this tab's node in one sentence. Screen readers hear each state only once.

/** Properties: `node` = `{ status, peers }` as returned by the node, or null while it starts; `failed`. */
export class StatusLine extends LocalizedElement {
  #node = null;
  #failed = false;

  set node(node) {
    this.#node = node;
    this.invalidate();
  }

  set failed(failed) {
    this.#failed = failed;
    this.invalidate();
  }

  render() {
    const { sentence, spoken, tone } = this.#failed
      ? { sentence: say("status.failed"), spoken: say("status.failed"), tone: "warning" }
      : statusSentence(this.#node?.status ?? null, this.#node?.peers ?? [], say);
    this.#setSentence(sentence);
    setText(this.querySelector("[role=status]"), spoken);
    this.dataset.tone = tone;
  }

  /** Wraps each part in a span, so that lines break between parts if possible. */
  #setSentence(sentence) {
    const text = this.querySelector(".status-text");
    if (text.textContent === sentence) return;
    const parts = sentence.split(SEPARATOR).map((part, i, { length }) => (i < length - 1 ? `${part} ·` : part));
    text.replaceChildren(...parts.flatMap((part, i) => (i === 0 ? [partOf(part)] : [" ", partOf(part)])));
  }
}

customElements.define("status-line", StatusLine);

function partOf(text) {
  return element("span", { class: "status-part" }, text);
}

// The button that switches the page's language. Does not store the choice: it dispatches "language-chosen".

/** Dispatches "language-chosen" with `{ language }`. */
export class LanguageSwitch extends LocalizedElement {
  connectedCallback() {
    super.connectedCallback();
    this.#button.onclick = () => {
      this.dispatchEvent(new CustomEvent("language-chosen", { detail: { language: this.#other } }));
    };
  }

  get #button() {
    return this.querySelector("button");
  }

  get #other() {
    return LANGUAGES[(LANGUAGES.indexOf(language()) + 1) % LANGUAGES.length];
  }

  render() {
    this.#button.textContent = say("language.other");
    this.#button.lang = this.#other;
  }
}

customElements.define("language-switch", LanguageSwitch);

// The room's name and kind, and the dialog to share it (link, QR code, the system's share sheet) or to open another. Does not
// navigate: it dispatches what a person wants to open.

/** The relay option that lets other computers connect. Users type it, so it must not break across lines. */
const LISTEN_EVERYWHERE = "--listen-ip 0.0.0.0";

/** The fields in which a person names a room, and where it says what is wrong with one. */
const ROOM_FIELDS = { "room-name": "#room-error", "private-label": "#private-error", "other-link": "#other-error" };

/**
 * Properties: `room` (a name, or the label of a private room), `kind` ("open", "private", or null if the address names no room),
 * `link`, `isStored` (whether this device keeps the link), `canCopy`, `canShare`, `makeCode` (returns the modules of a link's QR
 * code). `showNew()` shows the link of a new private room; `askForLink()` asks for the link of another room. Dispatches
 * "room-chosen" with `{ room }`, "link-chosen" with `{ link }`, "private-room-requested" with `{ label }`, all valid, and
 * "rooms-requested". Reply to "private-room-requested" with `notCreated(error)` after a failure.
 */
export class RoomBar extends LocalizedElement {
  makeCode = null;
  #room = null;
  #kind = null;
  #link = "";
  #isStored = false;
  #drawnLink = null;
  #canCopy = false;
  #canShare = false;
  /** @type {{ id: string, text: () => string } | null} what is wrong with what was typed in a field */
  #fault = null;
  #message = null;
  /** Whether the dialog is about a room that was just created, and about nothing else. */
  #isNew = false;
  #isCreating = false;

  set room(room) {
    if (room === this.#room) return;
    this.#room = room;
    this.invalidate();
  }

  set kind(kind) {
    if (kind === this.#kind) return;
    this.#kind = kind;
    this.invalidate();
  }

  set isStored(isStored) {
    if (isStored === this.#isStored) return;
    this.#isStored = isStored;
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
    const onSubmit = (form, work) => {
      this.querySelector(form).onsubmit = (event) => {
        event.preventDefault();
        work();
      };
    };
    onSubmit(".open-form", () => this.#choose());
    onSubmit(".private-form", () => this.#createPrivate());
    onSubmit(".link-form", () => this.#openLink());
    for (const id of Object.keys(ROOM_FIELDS)) {
      this.#field(id).oninput = () => {
        if (this.#fault?.id === id) this.#setFault(null);
      };
    }
    this.querySelector("#room-link").onfocus = (event) => event.target.select();
    this.querySelector(".copy").onclick = () => this.#copy();
    this.querySelector(".share").onclick = () => this.#share();
    this.querySelector(".rooms-stored").onclick = () => {
      dialog.close();
      this.dispatchEvent(new Event("rooms-requested"));
    };
    this.querySelector(".room-open").onclick = () => this.#open();
    this.querySelector(".dialog-close").onclick = () => dialog.close();
    dialog.onclose = () => {
      this.#isNew = false;
      // What was pasted may be a key.
      for (const id of ["room-name", "other-link"]) this.#field(id).value = "";
      this.#setFault(null);
    };
    closeOnBackdropClick(dialog);
  }

  /** Shows the link of the room that was just created: it is the only key. */
  showNew() {
    this.#isNew = true;
    this.#open();
    this.querySelector(this.#canCopy ? ".copy" : "#room-link").focus();
  }

  /** Shows the field for the link of another room. */
  askForLink() {
    this.#open();
    this.#field("other-link").focus();
  }

  /** Says why there is no new private room. */
  notCreated(error) {
    this.#isCreating = false;
    // It may have been closed meanwhile.
    this.#open();
    this.#setFault("private-label", () => say("room.notCreated", { reason: errorMessage(error) }));
  }

  render() {
    const isPrivate = this.#kind === "private";
    const shown = shownText(this.#room ?? "");
    for (const name of this.querySelectorAll(".room-name")) {
      setText(name, shown || (isPrivate ? "" : "…"));
      name.title = shown;
    }
    for (const kind of this.querySelectorAll(".room-kind")) {
      kind.hidden = this.#kind === null;
      kind.dataset.kind = this.#kind ?? "";
      setText(kind.lastElementChild, say(isPrivate ? "room.isPrivate" : "room.isOpen"));
    }
    this.#showHints(isPrivate && this.#link !== "");
    this.querySelector("#room-link").value = this.#link;
    for (const part of this.querySelectorAll(".room-share, .qr-frame, .room-sharing")) part.hidden = this.#link === "";
    this.querySelector(".room-other").hidden = this.#isNew;
    this.#showLocalOnlyHint();
    this.querySelector(".copy").hidden = !this.#canCopy;
    this.querySelector(".share").hidden = !this.#canShare;
    for (const [id, error] of Object.entries(ROOM_FIELDS)) {
      const fault = this.#fault?.id === id ? this.#fault.text() : "";
      setText(this.querySelector(error), fault);
      if (fault === "") this.#field(id).removeAttribute("aria-invalid");
      else this.#field(id).setAttribute("aria-invalid", "true");
    }
    setText(this.querySelector(".copied"), this.#message === null ? "" : say(this.#message));
    if (this.querySelector("dialog").open) this.#drawCode();
  }

  /** What the link of a private room is, and what its label is not. */
  #showHints(areWanted) {
    const show = (selector, key, isWanted, values = {}) => {
      const line = this.querySelector(selector);
      line.hidden = !isWanted;
      setText(line, isWanted ? say(key, values) : "");
    };
    show(".room-new", "room.new", areWanted && this.#isNew);
    show(".private-hint", "room.privateHint", areWanted);
    show(".private-stored", "room.privateStored", areWanted && this.#isStored);
    const label = this.#room ?? "";
    show(".private-named", "room.labelHint", areWanted && label !== "" && !this.#isNew, { room: shownInSentence(label) });
  }

  #field(id) {
    return this.querySelector(`#${id}`);
  }

  #open() {
    this.#message = null;
    const dialog = this.querySelector("dialog");
    if (!dialog.open) dialog.showModal();
    this.render();
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

  /** Opens the room of this name. A link is opened as one, so that its key never becomes the name of an open room. */
  #choose() {
    const { room, link, fault } = this.#typed("room-name");
    if (fault !== undefined) this.#refuse("room-name", fault);
    else if (link !== undefined) this.#leave("link-chosen", { link });
    else this.#leave("room-chosen", { room });
  }

  #openLink() {
    const { link, fault } = this.#typed("other-link");
    if (link === undefined) this.#refuse("other-link", fault === "empty" ? "noLink" : "badLink");
    else this.#leave("link-chosen", { link });
  }

  #createPrivate() {
    if (this.#isCreating) return;
    const { room = "", link, fault } = this.#typed("private-label");
    if (link !== undefined || (fault !== undefined && fault !== "empty")) {
      this.#refuse("private-label", fault === "long" ? "long" : "key");
      return;
    }
    this.#isCreating = true;
    this.#setFault(null);
    this.dispatchEvent(new CustomEvent("private-room-requested", { detail: { label: room } }));
  }

  #typed(id) {
    return roomFromText(this.#field(id).value, location.href);
  }

  #refuse(id, fault) {
    const found = new TextEncoder().encode(normalizeRoom(this.#field(id).value)).length;
    this.#setFault(id, () => say(`room.${fault}`, { max: MAX_ROOM_BYTES, found }));
  }

  #leave(type, detail) {
    this.querySelector("dialog").close();
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #setFault(id, text) {
    this.#fault = id === null ? null : { id, text };
    this.render();
    if (id !== null) this.#field(id).focus();
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

// The alert that explains why there is no node and what to do. Stays visible, because only a reload helps.

/**
 * Property: `failure` = `{ kind, error }`. The kind is "address" if a parameter in the page's address may be
 * wrong, "link" if that is the link of a private room, "start" if there was none, and "broken" if the node failed while
 * running. Dispatches "link-requested" and "rooms-requested".
 */
export class FailureNotice extends LocalizedElement {
  #failure = null;

  set failure(failure) {
    this.#failure = failure;
    this.invalidate();
  }

  render() {
    if (this.#failure === null) return;
    const { kind, error } = this.#failure;
    const heading = element("strong", {}, say(kind === "broken" ? "failure.broken" : "failure.start"));
    this.hidden = false;
    this.replaceChildren(element("p", {}, heading, ` · ${errorMessage(error)}`), element("p", {}, ...advice(kind)));
    // Who has half a link wants its room, and no other.
    if (kind === "link") this.append(this.#waysToTheRoom());
  }

  #waysToTheRoom() {
    const button = (key, style, type) => {
      const made = element("button", { type: "button", class: style }, say(key));
      made.onclick = () => this.dispatchEvent(new Event(type));
      return made;
    };
    const buttons = [button("failure.openLink", "primary", "link-requested"), button("room.stored", "", "rooms-requested")];
    return element("div", { class: "button-row" }, ...buttons);
  }
}

customElements.define("failure-notice", FailureNotice);

function advice(kind) {
  if (kind !== "address") return [say(`failure.${kind}Advice`)];
  const plain = element("a", { href: location.pathname }, say("failure.plain"));
  return [say("failure.addressAdvice"), " ", plain, "."];
}

// Notices about a running node: what this browser lacks, a wrong clock, and the node's own notices. Shows
// only a few at a time.

/** With a larger offset, others see this tab's blocks as too early (the chain's bound on a block's time), ms. */
const CLOCK_TOLERANCE_MS = 30_000;

/** How the keys of texts about faults of the storage begin. */
const STORAGE_FAULT = "storage.failing-";

/** The most notices shown; older ones are dropped. */
const MAX_NOTICES = 4;

/**
 * Properties: `clockOffsetMs`, `heldBack` and `storage`, as in the node's `status()`. `notice(detail)` shows a "notice" event of the node;
 * `offer(key, action, work)` shows a notice with a button; `tell(key)` shows a text until it is dismissed once on this device.
 */
export class PageNotices extends LocalizedElement {
  /** Texts that were told since the page was opened. */
  #told = new Set();
  #clockOffsetMs = null;
  #heldBack = null;
  #count = 0;
  /** @type {{ id: string, key: string, values: object, action?: string, work?: () => void }[]} */
  #notices = [];

  set clockOffsetMs(offset) {
    this.#clockOffsetMs = offset ?? null;
    this.invalidate();
  }

  set heldBack(heldBack) {
    this.#heldBack = heldBack ?? null;
    this.invalidate();
  }

  /** Drops notices about a fault of the storage that is over, or has become another one. A database that is closed opens again
   * with the fault that it had. */
  set storage({ failing, reason }) {
    const isPresent = (key) => failing && (reason === "closed" || key === `${STORAGE_FAULT}${reason}`);
    const isPast = ({ key }) => key.startsWith(STORAGE_FAULT) && !isPresent(key);
    if (!this.#notices.some(isPast)) return;
    this.#notices = this.#notices.filter((notice) => !isPast(notice));
    this.invalidate();
  }

  /** Shows a notice of the node. Kinds without a text are ignored. */
  notice(detail) {
    const message = noticeMessage(detail);
    if (message !== null) this.#add(message);
  }

  /** Shows a text with a button that runs `work`. */
  offer(key, action, work) {
    this.#add({ key, values: {}, action, work });
  }

  /** Shows a text about this browser, unless it was dismissed before. */
  tell(key) {
    if (this.#told.has(key)) return;
    this.#told.add(key);
    if (!dismissed().includes(key)) this.#add({ key, values: {}, once: true });
  }

  connectedCallback() {
    super.connectedCallback();
    authorChanges.addEventListener("change", this.#onAuthors);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    authorChanges.removeEventListener("change", this.#onAuthors);
  }

  languageChanged() {
    this.querySelector(".noticed").replaceChildren();
  }

  render() {
    this.#show(".clock", this.#clock());
    reconcile(
      this.querySelector(".noticed"),
      this.#notices,
      ({ id }) => id,
      (notice) => this.#item(notice),
      (item, notice) => setText(item.firstElementChild, textOf(notice)),
    );
  }

  #onAuthors = () => this.invalidate();

  #add(notice) {
    this.#count += 1;
    const same = ({ key, values }) => key === notice.key && JSON.stringify(values) === JSON.stringify(notice.values);
    this.#notices = [...this.#notices.filter((other) => !same(other)), { ...notice, id: String(this.#count) }].slice(-MAX_NOTICES);
    this.invalidate();
  }

  #item(notice) {
    const { key, action, work } = notice;
    const item = element("li", { class: "notice" }, element("span", {}, textOf(notice)));
    if (work !== undefined) {
      const button = element("button", { type: "button" }, say(action));
      button.onclick = work;
      item.append(button);
    }
    const dismiss = element("button", { type: "button", class: "quiet dismiss" }, say("notice.dismiss"));
    dismiss.onclick = () => {
      if (notice.once) rememberDismissed(key);
      this.#notices = this.#notices.filter(({ id }) => id !== notice.id);
      this.render();
    };
    item.append(dismiss);
    return item;
  }

  #show(selector, text) {
    const notice = this.querySelector(selector);
    notice.hidden = text === "";
    setText(notice, text);
  }

  #clock() {
    const messages = [];
    const offset = this.#clockOffsetMs ?? 0;
    if (Math.abs(offset) > CLOCK_TOLERANCE_MS) {
      messages.push(say(offset > 0 ? "clock.slow" : "clock.fast", { by: formatDuration(Math.abs(offset)) }));
    }
    if (this.#heldBack !== null) {
      const { blocks, until } = this.#heldBack;
      messages.push(say("clock.heldBack", { blocks, time: formatTime(until, Date.now()) }));
    }
    return messages.join(" ");
  }
}

customElements.define("page-notices", PageNotices);

/** The text of a notice in the current language, with the name that its author has now. */
function textOf({ key, values: { author, ...values } }) {
  return say(key, author === undefined ? messageValues(values) : { ...messageValues(values), name: nameText(author) });
}

/** The key of the dismissed texts in the browser's storage. */
const DISMISSED_KEY = "heartchain.dismissed";

/** Nothing if storage is blocked: the texts are then shown at each visit. */
function dismissed() {
  try {
    const keys = JSON.parse(localStorage.getItem(DISMISSED_KEY));
    return Array.isArray(keys) ? keys : [];
  } catch {
    return [];
  }
}

function rememberDismissed(key) {
  try {
    localStorage.setItem(DISMISSED_KEY, JSON.stringify([...new Set([...dismissed(), key])]));
  } catch {
    // It is dismissed for this visit only.
  }
}

// The "See how it works" switch and the container of the lessons. Loads nothing itself: it dispatches
// "lessons-switched" and passes the state to the lessons once they are loaded.

/** The lessons in the order in which they are shown. */
const LESSONS = ["lesson-branches", "lesson-tampering", "lesson-forgery", "lesson-mining"];

/**
 * Properties: `state`, of a LessonMode, null while the lessons are off; `failed`, whether loading them failed.
 * Dispatches "lessons-switched" with `{ on }`; lessons below dispatch "lesson-command" and "form-requested".
 */
export class LessonPanel extends LocalizedElement {
  #state = null;
  #failed = false;

  set state(state) {
    this.#state = state;
    this.#failed = false;
    this.invalidate();
  }

  set failed(failed) {
    this.#failed = failed;
    this.invalidate();
  }

  connectedCallback() {
    super.connectedCallback();
    this.#switch.onclick = () => {
      this.dispatchEvent(new CustomEvent("lessons-switched", { detail: { on: this.#state === null } }));
    };
  }

  render() {
    const on = this.#state !== null;
    this.#switch.setAttribute("aria-checked", String(on));
    const body = this.querySelector(".lesson-body");
    body.hidden = !on;
    setText(this.querySelector(".lesson-failure"), this.#failed ? say("lesson.unloaded") : "");
    if (!on) {
      body.replaceChildren();
      return;
    }
    if (body.childElementCount === 0) {
      body.append(element("p", { class: "lesson-intro" }), element("p", { class: "error", role: "alert" }));
      body.append(element("div", { class: "lesson-cards" }, ...LESSONS.map((name) => element(name))), element("lesson-step", { hidden: true }));
    }
    const [intro, failure, cards, step] = body.children;
    setText(intro, say("lesson.intro"));
    setText(failure, failureMessage(this.#state.failure));
    body.setAttribute("aria-busy", String(this.#state.busy));
    for (const card of cards.children) card.state = this.#state;
    step.state = this.#state;
  }

  get #switch() {
    return this.querySelector(".lesson-switch");
  }
}

customElements.define("lesson-panel", LessonPanel);

function failureMessage(error) {
  return error === null ? "" : say("lesson.failed", { reason: errorMessage(error) });
}

// Export and import of the chain: the buttons, the file field and the result. Reads and writes no file itself: it
// dispatches "export-requested" and "import-requested".

/**
 * Dispatches "export-requested" with `{ format }` ("json" or "csv") and "import-requested" with `{ file }`; reply to
 * both with `showResult(key, values, error)`.
 */
export class DataPanel extends LocalizedElement {
  #result = null;

  connectedCallback() {
    super.connectedCallback();
    for (const button of this.querySelectorAll("[data-format]")) {
      button.onclick = () => this.#request("export-requested", { format: button.dataset.format });
    }
    const field = this.querySelector("input[type=file]");
    field.onchange = () => {
      const [file] = field.files;
      if (file) this.#request("import-requested", { file });
      // Allows choosing the same file again.
      field.value = "";
    };
  }

  /** Shows the result of a request. With an error, its message is the text's `reason`. */
  showResult(key, values = {}, error = null) {
    this.#result = { key, values, error };
    this.invalidate();
  }

  render() {
    const line = this.querySelector(".data-result");
    const { key, values, error = null } = this.#result ?? {};
    const reason = error === null ? {} : { reason: errorMessage(error) };
    setText(line, key === undefined ? "" : say(key, { ...values, ...reason }));
    line.classList.toggle("error", error !== null);
  }

  #request(name, detail) {
    this.showResult(name === "import-requested" ? "data.importing" : "data.exporting");
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

customElements.define("data-panel", DataPanel);
