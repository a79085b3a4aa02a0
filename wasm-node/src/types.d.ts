
/** The options of `HeartchainNode.start`. All are optional. */
export interface NodeOptions {
  /**
   * The room to join. An open room has a name: 1 to 64 bytes of UTF-8, trimmed, in normalization form C; everyone who
   * knows it can read the room. A private room has a link, see `createPrivateRoom()`; the part that begins with `#` is
   * enough. A link that is incomplete or was altered is refused. Default: "lobby".
   */
  room?: string | { readonly link: string } | undefined;
  /** Multiaddrs of relays that a browser can dial. Default: those that `relayDocument` describes. */
  relays?: readonly string[] | undefined;
  /**
   * Peers to dial in any case, at most 8. Each is the peer's own address, as a keeper prints it
   * (`/ip4/…/tcp/…/ws/p2p/<peer ID>`), or `<relay>/p2p/<relay's peer ID>/p2p-circuit/p2p/<peer ID>`, for relays without
   * rendezvous, through which peers cannot discover each other. These relays are used in addition to `relays`.
   */
  peers?: readonly string[] | undefined;
  /**
   * Whether to connect to other tabs directly by WebRTC where possible. Other tabs then learn this computer's IP
   * addresses. If false, all traffic goes through relays. Default: true.
   */
  direct?: boolean | undefined;
  /**
   * STUN and TURN servers that help to establish direct connections, at most four URLs in all; an empty array means
   * none. TURN servers forward encrypted traffic, which counts as direct. Default: the STUN servers in `relayDocument`.
   */
  iceServers?: readonly IceServerOptions[] | undefined;
  /**
   * The URL of a JSON document with the relay's addresses: `addresses`, a list of multiaddrs. It is fetched again
   * before each dial. If it lists several relays, two of them are used, which follow from the room. Default: "relay.json"
   * beside the page.
   */
  relayDocument?: string | undefined;
  /** The URL of the mining worker's script, a module. Without one this tab does not mine. */
  minerUrl?: string | undefined;
  /** The URL of the verification worker's script, a module. Without one the page's thread verifies everything. */
  verifierUrl?: string | undefined;
  /**
   * Where the tab's key, its readings and its copy of the chain are stored: "auto" stores them on disk if this browser
   * allows it, so that the tab is the same peer after a reload; "memory" forgets them when the tab is closed.
   * Default: "auto".
   */
  storage?: "auto" | "memory" | undefined;
  /** The compiled wasm for the workers. Default: the module that this code runs from. */
  wasmModule?: WebAssembly.Module | undefined;
}

/** A STUN or TURN server, as in `RTCConfiguration`. */
export interface IceServerOptions {
  urls: string | readonly string[];
  username?: string | undefined;
  credential?: string | undefined;
}

/** The second argument of `HeartchainNode.start`. */
export interface StartControl {
  /** Cancels the start: it rejects with the signal's reason. After the start, the signal has no effect. */
  signal?: AbortSignal | undefined;
}

/** The options of `exportCsv()`. */
export interface CsvOptions {
  /** What is between two fields: spreadsheets expect ";" where numbers have a decimal comma. Default: ",". */
  separator?: "," | ";" | "\t" | undefined;
}

/** An error of a node. Its message is for people and may change; its code is for programs. */
export interface HeartchainError extends Error {
  name: "HeartchainError";
  code: HeartchainErrorCode;
}

/** What went wrong. */
export type HeartchainErrorCode =
  /** An argument or an option has a wrong type or value. */
  | "invalid-argument"
  /** There is no option of this name. */
  | "unknown-option"
  /** The browser has no secure random numbers. */
  | "no-randomness"
  /** The node was stopped, or it failed. */
  | "stopped"
  /** Too much is waiting already; try again in a moment. */
  | "busy"
  /** The chain changed meanwhile; try again. */
  | "changing"
  /** A block is damaged on disk, and is fetched again from a peer. */
  | "damaged"
  /** The disk is full, too slow, or refuses. Nothing was recorded. */
  | "storage"
  /** This tab has recorded as many readings in this room as it may, or has had more keys than a move file may have. */
  | "journal-full"
  /** The text is not an export of Heartchain. */
  | "not-an-export"
  /** The link of a private room is incomplete or was altered. */
  | "invalid-link"
  /** The export has a format that this version does not know. */
  | "unknown-format"
  /** The export is of another room. */
  | "other-room"
  /** A block, a reading or a name of the export was changed or breaks a rule. What came before it is kept. */
  | "invalid-import"
  /** A tab of this browser has the room or the identity open. Nothing was changed. */
  | "room-open"
  /** The passphrase does not open the move file. */
  | "wrong-passphrase"
  /** The file is not a move file, is incomplete, was altered, or has a newer format. */
  | "not-a-move-file"
  /** Something was recorded here that no move file has. */
  | "not-moved"
  /** The clock of this device is wrong, so others would ignore the name. It was not changed. */
  | "clock"
  /** Something unexpected happened in this code or in the browser. */
  | "internal";

/** The tab's sync state: looking for peers, catching up, level with its peers, without peers, or stopped by `stop()`. */
export type NodeState = "starting" | "syncing" | "synced" | "alone" | "stopped";

/** The status of this tab and its room. */
export interface NodeStatus {
  /** This tab's libp2p peer ID, different in each room. It does not tell which author the tab acts for. */
  peerId: string;
  /** The public key that signs what is recorded here, in lower-case hex. */
  author: string;
  /** The name of an open room; null in a private one. */
  room: string | null;
  /** Whether the room is private: its readings are sealed, and only those who have its link can read them. */
  private: boolean;
  /** The hash of the room's first block, in lower-case hex. Two tabs are in the same room if these are equal. */
  genesis: string;
  /** The newest block of the best branch. */
  tip: { index: number; hash: string };
  /** The height of the branch that is being fetched; null if no branch is. */
  target: number | null;
  /** The total work of the best branch, as a decimal number. */
  totalWork: string;
  /** Readings that wait for a block. */
  mempool: number;
  state: NodeState;
  relays: RelayStatus[];
  /** The number of connected peers, not counting relays. */
  peers: number;
  /** The median of the peers' clocks minus this computer's, in ms; null with fewer than three peers. */
  clockOffsetMs: number | null;
  /** The mining worker's last measured speed; null if it has not mined yet, or failed. */
  hashesPerSecond: number | null;
  /** The most hashes per second that the worker tries, see `limitMining()`; null if unlimited. */
  miningLimit: number | null;
  /** Whether this tab is isolated from the network, see `isolate()`. */
  isolated: boolean;
  /** The version of this code. */
  version: string;
  storage: StorageStatus;
  /**
   * Blocks on this computer's disk that are ahead of its clock. They are held back until the time `until`, in Unix ms,
   * and nothing is lost meanwhile. Null if no block is held back.
   */
  heldBack: { blocks: number; until: number } | null;
  /**
   * Why this tab cannot mine: the browser has no workers here ("no-worker"), the script at `minerUrl` could not be loaded
   * ("not-loaded"), or it failed while mining ("crashed"). The node tries again. Null if nothing is wrong.
   */
  minerError: "no-worker" | "not-loaded" | "crashed" | null;
  /**
   * Why the document at `relayDocument` was not used the last time: the server cannot be reached or does not allow this page
   * to read it, see CORS ("unreachable"), answered with an HTTP error ("http-404"), took too long ("timeout"), or sent
   * something else ("unreadable"). The node tries again. Null if nothing is wrong.
   */
  relayDocumentError: "unreachable" | "timeout" | "unreadable" | `http-${number}` | null;
  /** Set once if the node panicked. It no longer works, and the page should be reloaded. */
  error?: string;
}

/** The state of the storage for this tab's key, its readings and its copy of the chain. */
export interface StorageStatus {
  kind: "disk" | "memory";
  /** The tab's number among this browser's tabs in the room, from 0; null in memory. Each has its own key and chain. */
  slot: number | null;
  /**
   * In memory, why data is lost when the tab is closed: the page asked for it ("asked"); the room is being deleted
   * on this device, and that cannot end now ("deleting"); the browser has no IndexedDB ("no-database"), or refuses to
   * open a database, as in a private window ("blocked"); too many tabs are open ("no-free-slot"); the database is of a
   * newer version of this page ("newer-version").
   *
   * On disk, why it is `failing`: the browser closed or deleted the database, and it is not open again yet ("closed");
   * the disk is full ("full"); the disk has not answered for 10 s ("stuck"); a newer version of this page has upgraded
   * the database, and this tab must be reloaded ("newer-version"); the disk or the browser refuses ("failed"). Null if
   * storage works.
   */
  reason:
    | "asked"
    | "deleting"
    | "no-database"
    | "blocked"
    | "no-free-slot"
    | "newer-version"
    | "closed"
    | "full"
    | "stuck"
    | "failed"
    | null;
  /** Whether the browser promised to keep the data even when the disk gets full; null if it does not say. */
  persisted: boolean | null;
  /** Bytes that this origin uses; null if the browser does not say. */
  usage: number | null;
  /** Bytes that this origin may use; null if the browser does not say. */
  quota: number | null;
  /**
   * Whether something could not be written. On a full disk blocks fail first, and then readings, which are refused
   * until there is space again.
   */
  failing: boolean;
  /** Readings that have waited for the disk for more than 3 s. Their `record()` resolves once they are stored. */
  saving: number;
  /**
   * Unconfirmed readings of this tab that were missing from the disk at this start, and could not be restored. Null if
   * nothing was missing; 0 if all that was missing was restored from a copy.
   */
  lost: number | null;
  /** Damaged records that were found since this tab started. They were dropped and are fetched again from peers. */
  repaired: number;
  /**
   * Blocks on disk whose readings are not checked for damage yet: those of a long chain are checked while the tab is
   * running. Headers, links and work were checked before it started.
   */
  unchecked: number;
}

/** One of this tab's relays. */
export interface RelayStatus {
  /** The multiaddr in use, or the next to try. */
  address: string;
  /** The relay's libp2p peer ID; null if its address does not contain it. */
  peerId: string | null;
  connected: boolean;
  /** Whether this tab has a reservation, through which others can reach it. */
  reserved: boolean;
  /** Whether the relay refused a reservation because it has no more. */
  full: boolean;
}

/** A connected peer or relay. */
export interface PeerStatus {
  peerId: string;
  /** The author that the peer has proved to act for, in lower-case hex; null before, and for relays. */
  author: string | null;
  /** How the peer is connected: directly, or through a relay; "relay" is a relay itself. */
  path: "direct" | "relayed" | "relay";
  /** The last ping's round trip in ms; null before the first answer. */
  rttMs: number | null;
  /** The height of the peer's tip; null if it has not told it yet, and for relays. */
  index: number | null;
}

/** A heart-rate reading. Hex is lower-case. */
export interface Reading {
  id: string;
  /** The public key that signed it. */
  author: string;
  /** The sequence number among the author's readings, from 0. */
  seq: number;
  /** The time by the author's clock, in Unix ms. Missing if the reading is sealed and cannot be read. */
  time?: number;
  /** The heart rate in beats per minute. Missing if the reading is sealed and cannot be read. */
  bpm?: number;
  /** In a private room: time and heart rate as they are sent. */
  sealed?: string;
  signature: string;
}

/** A block of the best branch. Hex is lower-case. */
export interface Block {
  index: number;
  /** The time by the miner's clock, in Unix ms. */
  time: number;
  prevHash: string;
  hash: string;
  readingsRoot: string;
  /** The target of the proof of work, in compact form. */
  bits: number;
  /** A decimal number below 2^64. */
  nonce: string;
  readings: Reading[];
}

/** A reading that was recorded in this tab. */
export interface OwnReading {
  id: string;
  /** The sequence number among this tab's readings, from 0. */
  seq: number;
  time: number;
  bpm: number;
  /** The height of the block that contains it on the best branch; null while it waits for one. */
  index: number | null;
}

/** The name that an author shows to others. It is their text: show it with `textContent`, isolated from its surroundings. */
export interface AuthorName {
  /** The public key that signed it, in lower-case hex. */
  author: string;
  /** Up to 40 bytes of UTF-8, without invisible characters. Two authors may have the same name. */
  name: string;
  /** When it was chosen, by the author's clock, in Unix ms. */
  revision: number;
}

/** A side branch of the chain. */
export interface Branch {
  /** The hash of the branch's last block. */
  tip: string;
  /** The height of the branch's last block. */
  index: number;
  /** The height of the last block that the branch shares with the best one. */
  fork: number;
  /** The branch's newest blocks, the newest first, at most 16. */
  blocks: { index: number; hash: string; prevHash: string; time: number }[];
}

/** The result of verifying a block. Each `ok` says whether the claimed value is right. */
export interface BlockCheck {
  /** Whether every check passed. */
  ok: boolean;
  /** The SHA-256 hash of the header. */
  hash: { ok: boolean; computed: string };
  /** Whether that hash, as a number, is at most the target; `target` is null if the bits are not a valid target. */
  work: { ok: boolean; target: string | null; hash: string };
  /** Whether this tab knows the parent; `expected` is the hash of this tab's own block at that height, if any. */
  link: { ok: boolean; expected: string | null };
  /** The Merkle root of the readings. */
  root: { ok: boolean; computed: string };
  /** The bits that the difficulty rule requires; null if the parent is unknown. */
  difficulty: { ok: boolean; expected: number | null };
  /** The time, in Unix ms, that the block's time must exceed; null if the parent is unknown. */
  time: { ok: boolean; after: number | null };
  readings: {
    /** The claimed id. */
    id: string;
    ok: boolean;
    computedId: string;
    /** Whether the author's signature is valid for exactly this reading in this room. */
    signature: boolean;
    /** What is wrong with the reading, in words; null if it is valid. */
    reason: string | null;
  }[];
}

/** Why a tab would not forward an item. */
export type DryRunKind =
  | "known"
  | "unknown-parent"
  | "too-early"
  | "lighter"
  | "off-the-tree"
  | "past"
  | "equivocation"
  | "no-place"
  | "other-key"
  | "unreadable"
  | "too-long"
  | "heart-rate"
  | "reading-time"
  | "author"
  | "signature"
  | "version"
  | "link"
  | "difficulty"
  | "work"
  | "time"
  | "empty"
  | "root"
  | "sequence"
  | "sender";

/** What a tab would do with an item from an unknown peer. */
export interface DryRun {
  /** Forward the item, ignore it, or reject it and blame the sender because it breaks a rule. */
  verdict: "accept" | "ignore" | "reject";
  /** The reason in words; null if the item would be forwarded. */
  reason: string | null;
  /** The reason as a stable code; null if the item would be forwarded. */
  kind: DryRunKind | null;
  /** Whether the sender would be disconnected and banned. */
  dropped: boolean;
}

/** The result of an import: how much the file contained, how much of it is new and stored now, and what is not stored. The rest
 * was here before. */
export interface Imported {
  blocks: number;
  newBlocks: number;
  /** Readings in blocks and waiting readings together. */
  readings: number;
  newReadings: number;
  notStored: NotStored;
}

/** How many waiting readings of an imported file are not stored, by reason. */
export interface NotStored {
  /** They have this tab's own key, but were not recorded in this tab. Only what was recorded here may use the key's numbers. */
  ownKey: number;
  /** Other readings of their authors have their numbers: in blocks for good, or among the readings that wait here. */
  numberTaken: number;
  /** The key of the room does not open them. */
  unreadable: number;
  /** 65,536 readings of others already wait, and no more are kept. */
  noRoom: number;
}

/** A room of which this device has something, see `rooms()`. */
export interface StoredRoom {
  /** The hash of the room's first block, in lower-case hex: the argument of `labelRoom()` and `deleteRoom()`. */
  genesis: string;
  /** The name of an open room; null in a private one, or if it is not known. */
  room: string | null;
  private: boolean;
  /** What people call the room on this device; null if they call it nothing. */
  label: string | null;
  /** The part of the room's link that begins with `#`; null if this device no longer knows what opens the room. */
  link: string | null;
  /** Readings that were recorded on this device, in all its tabs. */
  readings: number;
  /** About how many bytes of blocks are stored, in all tabs; null if it is not known. */
  bytes: number | null;
  /** When a tab opened the room last, in Unix ms; 0 if it is not known. */
  lastOpened: number;
  /** Whether a tab of this browser has the room open. */
  open: boolean;
}

/** The result of `importIdentity()`. */
export interface ImportedIdentity {
  /** The room of the author, as in `StoredRoom`. */
  genesis: string;
  /** The part of the room's link that begins with `#`. */
  link: string;
  /** Readings in the file. */
  readings: number;
}

/** Something that a person should be told of. */
export type Notice =
  /** An author signed two readings with the same sequence number: at most one of them can enter the chain. */
  | { kind: "equivocation"; author: string; seq: number }
  /** This tab's key is also in use elsewhere. From now on the tab signs with another, whose public key is `author`. */
  | { kind: "key-replaced"; author: string }
  /** This many stored records were damaged. They were dropped and are fetched again from peers. */
  | { kind: "repaired"; records: number }
  /** Something cannot be stored on disk at present; `reason` is that of the storage status. */
  | { kind: "storage-failing"; reason: "newer-version" | "closed" | "full" | "stuck" | "failed" }
  /**
   * The browser had closed the database, and it is open again. If data was missing, the key and this many `readings` of
   * the tab are written again, and blocks are fetched again from peers. Null if nothing was lost.
   */
  | { kind: "storage-reopened"; readings: number | null }
  /**
   * When the tab started, its database had lost readings that a copy beside it lists: `saved` of them were restored,
   * and `readings` are lost for good. The key is unchanged.
   */
  | { kind: "storage-lost"; readings: number; saved: number }
  /** This computer's clock was set back while the tab ran. */
  | { kind: "clock-set-back"; byMs: number }
  /** This computer's clock was set ahead while the tab ran, and the clocks of peers disagree. */
  | { kind: "clock-set-ahead"; byMs: number }
  /** This tab took over the unshared readings of a closed tab of this browser, which had this slot. */
  | { kind: "readings-adopted"; readings: number; slot: number };

/** A change of the best branch: blocks `from` to `to` are new, and those above `to` are gone. */
export interface ChainChange {
  from: number;
  to: number;
  /** Whether the tab switched to another branch, which removed blocks. */
  reorg: boolean;
}

/** The `detail` of each event of a node. */
export interface NodeEventMap {
  /** Something that `status()` returns changed. */
  status: NodeStatus;
  /** The best branch changed. */
  chain: ChainChange;
  /** Something that `peers()` returns changed. */
  peers: PeerStatus[];
  /** Something that `names()` returns changed. */
  names: AuthorName[];
  /** A new reading waits for a block, this tab's own or another's. */
  reading: Reading;
  /** A person should be told of something. */
  notice: Notice;
}

/** A listener: a function, or an object with `handleEvent`. */
export type NodeEventListener<K extends keyof NodeEventMap> =
  | ((event: CustomEvent<NodeEventMap[K]>) => void)
  | { handleEvent(event: CustomEvent<NodeEventMap[K]>): void };

export interface HeartchainNode {
  /**
   * The readings that wait for a block: by default at most 100; with a `limit`, up to 16,384. `status().mempool` is
   * their total number.
   */
  pending(limit?: number): Reading[];
  /** The readings recorded in this tab, the newest first: by default at most 100; with a `limit`, up to 10,000. */
  ownReadings(limit?: number): OwnReading[];
  /** Exports all readings that this tab knows of, as CSV for spreadsheets, with times in this computer's time zone. */
  exportCsv(options?: CsvOptions): Promise<Blob>;
  /** Calls the listener for each event of this type, until it is removed. */
  addEventListener<K extends keyof NodeEventMap>(
    type: K,
    listener: NodeEventListener<K> | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** Removes the listener. */
  removeEventListener<K extends keyof NodeEventMap>(
    type: K,
    listener: NodeEventListener<K> | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
