//! The rooms on this device: lists, renames and deletes them, and moves this tab's author to another device or one from there to
//! here. Never draws, and never navigates.

/** Anyone who has a move file can try passphrases, so a short one protects little. */
export const MIN_PASSPHRASE_LETTERS = 8;

/**
 * The state to display.
 *
 * @typedef {object} RoomsState
 * @property {object[] | null} rooms as the node's `rooms()`, null until they are known
 * @property {string | null} current the genesis of the room in this tab
 * @property {unknown} failure why the rooms could not be listed, or null
 * @property {string | null} busy the command that is running
 * @property {{ genesis: string | null, error: unknown } | null} fault why the last command failed, and in which room
 * @property {"locked" | "retired" | null} move whether the move file was saved, and whether this tab gave its author up
 * @property {{ genesis: string, link: string, readings: number } | null} imported what was brought here
 * @property {boolean} ended whether this tab's node was stopped, so that the page must be left
 */

/** Dispatches "change" whenever `state` changes. Each command is one method. No command rejects: errors are in the state. */
export class DeviceRooms extends EventTarget {
  #api;
  #here;
  #state;
  /** The newest read of the list: an older one may end later. */
  #reading = null;

  /**
   * @param {{ rooms: () => Promise<object[]>, labelRoom: (genesis: string, label: string) => Promise<void>,
   *   deleteRoom: (genesis: string) => Promise<void>, forgetRoom: (genesis: string) => Promise<void>,
   *   importIdentity: (file: Blob, passphrase: string) => Promise<object> }} api forgetRoom: deletes what the page itself keeps
   * @param {{ genesis: string, export: (passphrase: string) => Promise<Blob>, retire: () => Promise<void>,
   *   isStopped: () => boolean, leave: () => Promise<void> } | null} here the room in this tab; null if no node is running
   */
  constructor(api, here) {
    super();
    this.#api = api;
    this.#here = here;
    this.#state = {
      rooms: null, current: here?.genesis ?? null, failure: null, busy: null, fault: null, move: null, imported: null, ended: false,
    };
  }

  /** @returns {RoomsState} */
  get state() {
    return this.#state;
  }

  /** Reads the list of rooms again. */
  async list() {
    const reading = this.#api.rooms();
    this.#reading = reading;
    const change = await reading.then((rooms) => ({ rooms, failure: null }), (failure) => ({ failure }));
    if (this.#reading === reading) this.#update(change);
  }

  /** Changes what this device calls a room. */
  async rename(genesis, label) {
    return this.#run("rename", genesis, async () => {
      await this.#api.labelRoom(genesis, label);
    });
  }

  /** Deletes a room from this device. The one in this tab is left first. */
  async remove(genesis) {
    return this.#run("remove", genesis, async () => {
      if (genesis === this.#here?.genesis) {
        this.#update({ ended: true });
        await this.#here.leave();
      }
      await this.#api.forgetRoom(genesis);
      await this.#api.deleteRoom(genesis);
    });
  }

  /** Locks this tab's author into a file for another device. Returns the file, or null after a failure. */
  async lock(passphrase) {
    let file = null;
    await this.#run("lock", this.#here.genesis, async () => {
      file = await this.#here.export(passphrase);
      this.#update({ move: "locked" });
    });
    return file;
  }

  /** Gives this tab's author up, after the person has opened the file on the other device. */
  async retire() {
    await this.#run("retire", this.#here.genesis, async () => {
      await this.#here.retire();
      this.#update({ move: "retired" });
    });
    if (this.#here.isStopped()) this.#update({ ended: true });
  }

  /** Brings an author from another device here. */
  async bring(file, passphrase) {
    this.#update({ imported: null });
    await this.#run("bring", null, async () => {
      this.#update({ imported: await this.#api.importIdentity(file, passphrase) });
    });
  }

  /** Forgets why the last command failed, and what was brought here. */
  settle() {
    this.#update({ fault: null, imported: null });
  }

  /** Returns whether the command succeeded. */
  async #run(busy, genesis, command) {
    if (this.#state.busy !== null) return false;
    this.#update({ busy, fault: null });
    let isDone = true;
    try {
      await command();
    } catch (error) {
      isDone = false;
      this.#update({ fault: { genesis, error } });
    }
    await this.list();
    this.#update({ busy: null });
    return isDone;
  }

  #update(change) {
    this.#state = { ...this.#state, ...change };
    this.dispatchEvent(new Event("change"));
  }
}
