
/** How `Node.start` is to be set up; everything may be left out. */
export interface NodeOptions {
  /** The room to join: 1 to 64 bytes of UTF-8, trimmed, in normal form C. Default: "lobby". */
  room?: string;
  /** Multiaddrs of relays that a browser can dial. Without any, the one that `relayDocument` is about. */
  relays?: string[];
  /**
   * Peers to call in any case, each at `<relay>/p2p/<its name>/p2p-circuit/p2p/<peer>`, at most 8: for relays that cannot
   * name peers to one another. Their relays are used, too.
   */
  peers?: string[];
  /**
   * Whether other tabs are reached directly, by WebRTC, where that is possible. They learn this computer's addresses
   * by it; without it everything goes through the relay. Default: true.
   */
  direct?: boolean;
  /**
   * STUN and TURN servers that help to find direct ways, at most four URLs in all; an empty array: none. TURN servers
   * forward what they cannot read, and count as direct. Default: the STUN servers that `relayDocument` names.
   */
  iceServers?: { urls: string | string[]; username?: string; credential?: string }[];
  /**
   * Where to read the relay's addresses, again before each call: JSON with `addresses`, a list of multiaddrs.
   * Default: "relay.json" beside the page.
   */
  relayDocument?: string;
  /** The script of the mining worker (a module). Without one nothing is mined in this tab. */
  minerUrl?: string;
  /**
   * Where the tab's key, its readings and its copy of the chain are kept: "auto" is on disk, if this browser has a place
   * there, so that the tab is the same peer when it is loaded again; "memory" forgets them with the tab.
   * Default: "auto".
   */
  storage?: "auto" | "memory";
  /** The compiled wasm for the mining worker. Default: the one that this code runs from. */
  wasmModule?: WebAssembly.Module;
}

/** Where this tab stands: looking for peers, catching up, as far as its peers, or without any. */
export type NodeState = "starting" | "syncing" | "synced" | "alone";

/** What is known of this tab and its room. */
export interface NodeStatus {
  /** This tab's libp2p name; the key in it also signs its readings. */
  peerId: string;
  room: string;
  /** The hash of the room's first block, in lower-case hex: two tabs are in one room if theirs are equal. */
  genesis: string;
  /** The newest block of the best branch. */
  tip: { index: number; hash: string };
  /** The height of the branch that is being fetched; null if none is. */
  target: number | null;
  /** The best branch's work, a decimal number. */
  totalWork: string;
  /** Readings that wait for a block. */
  mempool: number;
  state: NodeState;
  relays: RelayStatus[];
  /** Connected peers, relays not counted. */
  peers: number;
  /** The median of the peers' clocks minus this computer's, in ms; null with fewer than three peers. */
  clockOffsetMs: number | null;
  /** How fast the mining worker was when it last hashed; null if it has not yet, or failed. */
  hashesPerSecond: number | null;
  /** How many hashes a second it may try, see `limitMining()`; null: as many as it can. */
  miningLimit: number | null;
  /** Whether this tab has cut itself off, see `isolate()`. */
  isolated: boolean;
  /** The version of this code. */
  version: string;
  storage: StorageStatus;
  /**
   * Blocks on this computer's disk that are ahead of its clock: they wait until their time comes, in Unix ms, and nothing is
   * lost meanwhile. Null if there are none.
   */
  heldBack: { blocks: number; until: number } | null;
  /** Set once, if the node broke: it works no more, and the page should be reloaded. */
  error?: string;
}

/** Where this tab keeps its key, its readings and its copy of the chain. */
export interface StorageStatus {
  kind: "disk" | "memory";
  /** Which of this browser's tabs in this room it is, from 0: each has a key and a chain of its own. Null in memory. */
  slot: number | null;
  /**
   * Why it is in memory, and forgotten when the tab is closed: the page asked for it; the browser has no Web Locks
   * (plain http from another machine) or no IndexedDB; it refuses to open a database (a private window, blocked storage);
   * too many tabs are open; a newer version of this page has been here.
   *
   * On disk, and `failing`: the browser has closed or deleted the database, and it is not open again yet; there is no room;
   * the disk has not answered for 10 s; a newer version of this page has upgraded the database, so that this tab must be
   * reloaded; the disk or the browser refuses. Null if all is well.
   */
  reason:
    | "asked"
    | "no-locks"
    | "no-database"
    | "blocked"
    | "no-free-slot"
    | "newer-version"
    | "closed"
    | "full"
    | "stuck"
    | "failed"
    | null;
  /** Whether the browser promised to keep it even when its disk gets full; null if it does not say. */
  persisted: boolean | null;
  /** Bytes that this origin's tabs use together; null if the browser does not say. */
  usage: number | null;
  /** Bytes that they may use. */
  quota: number | null;
  /** Whether something could not be written: blocks first, and then readings, too, which are refused until there is room again. */
  failing: boolean;
  /** Readings that have waited for the disk for more than 3 s. Their `record()` is answered once they are kept. */
  saving: number;
  /**
   * Readings of this tab that its disk has lost, and that had not been confirmed when they were last seen here. Null if
   * nothing was lost at this start; 0 if something was, and all of these were put back from a copy.
   */
  lost: number | null;
  /** Records that proved damaged since this tab was started: they were dropped, and are fetched from peers. */
  healed: number;
  /**
   * Blocks on disk whose readings are still to be checked for damage: a long chain's are while the tab is at work
   * already. Their headers, links and work were checked before it started.
   */
  unchecked: number;
}

/** One of this tab's relays. */
export interface RelayStatus {
  /** The multiaddr in use, or to be tried next. */
  address: string;
  /** Its libp2p name; null if its address does not say. */
  peerId: string | null;
  connected: boolean;
  /** Whether others can reach this tab through it. */
  reserved: boolean;
}

/** A connected peer, or relay. */
export interface PeerStatus {
  peerId: string;
  /** How it is reached: straight, or through a relay; "relay" is a relay itself. */
  path: "direct" | "relayed" | "relay";
  /** The last ping's round trip in ms; null if none has come back yet. */
  rttMs: number | null;
  /** The height of its tip; null if it has not said, and for a relay. */
  index: number | null;
}

/** A heart-rate reading. Hex is lower-case. */
export interface Reading {
  id: string;
  /** The public key that signed it. */
  author: string;
  /** Its place in its author's count, from 0. */
  seq: number;
  /** When, by its author's clock, in Unix ms. */
  time: number;
  /** Beats a minute. */
  bpm: number;
  signature: string;
}

/** A block of the best branch. Hex is lower-case. */
export interface Block {
  index: number;
  /** By its miner's clock, in Unix ms. */
  time: number;
  prevHash: string;
  hash: string;
  readingsRoot: string;
  /** The target of its work, in compact form. */
  bits: number;
  /** A decimal number below 2^64. */
  nonce: string;
  readings: Reading[];
}

/** A reading that was recorded in this tab. */
export interface OwnReading {
  id: string;
  /** Its place in this tab's count. */
  seq: number;
  time: number;
  bpm: number;
  /** The height of the best branch's block that has it; null while it waits for one. */
  index: number | null;
}

/** A branch beside the best one. */
export interface Branch {
  /** The hash of its last block. */
  tip: string;
  /** That block's height. */
  index: number;
  /** The height of the last block that it shares with the best branch. */
  fork: number;
  /** Its newest blocks, the newest first, at most 16. */
  blocks: { index: number; hash: string; prevHash: string; time: number }[];
}

/** What came of doing a block's sums again. `ok` says whether a claim is as it should be. */
export interface BlockCheck {
  /** Whether everything is. */
  ok: boolean;
  /** SHA-256 of the header. */
  hash: { ok: boolean; computed: string };
  /** Whether that hash, as a number, is at most the target; null if the bits are no target. */
  work: { ok: boolean; target: string | null; hash: string };
  /** Whether this tab knows the block below it; `expected`: the hash of this tab's own block there, null if none. */
  link: { ok: boolean; expected: string | null };
  /** The Merkle root of the readings. */
  root: { ok: boolean; computed: string };
  /** The bits that the difficulty rule asks for; null if the block below is not known. */
  difficulty: { ok: boolean; expected: number | null };
  /** The time, in Unix ms, that the block's must be later than; null if the block below is not known. */
  time: { ok: boolean; after: number | null };
  readings: {
    /** As claimed. */
    id: string;
    ok: boolean;
    computedId: string;
    /** Whether its author signed just this, for this room. */
    signature: boolean;
    /** What is wrong with it, in words; null if nothing is. */
    reason: string | null;
  }[];
}

/** Why a tab would not pass something on. */
export type RehearsalKind =
  | "known"
  | "unknown-parent"
  | "too-early"
  | "lighter"
  | "off-the-tree"
  | "past"
  | "equivocation"
  | "no-place"
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

/** What a tab would do with something that a stranger sent. */
export interface Rehearsal {
  /** Pass it on; keep silent about it; or hold it against the sender, because it breaks a rule. */
  verdict: "accept" | "ignore" | "reject";
  /** Why, in words; null if it would be passed on. */
  reason: string | null;
  /** Why, by a name that no wording changes. */
  kind: RehearsalKind | null;
  /** Whether the sender would be shut out. */
  dropped: boolean;
}

/** What came of an import: how much the file had, and how much of it was new to this tab. */
export interface Imported {
  blocks: number;
  newBlocks: number;
  /** In blocks and waiting. */
  readings: number;
  newReadings: number;
}

/** What a person should hear of. */
export type Notice =
  /** An author signed two readings with one place of its count: one of them will never be in the chain. */
  | { kind: "equivocation"; author: string; seq: number }
  /** This tab's key signs elsewhere, too: from now on it signs with another, which is `author`. */
  | { kind: "key-replaced"; author: string }
  /** What this tab keeps was damaged; so many records were dropped, and are fetched from peers. */
  | { kind: "healed"; records: number }
  /** Not everything can be kept on disk at present, for this `reason` of the storage's status. */
  | { kind: "storage-failing"; reason: "newer-version" | "closed" | "full" | "stuck" | "failed" }
  /**
   * The browser had closed the database, and it is open again. `readings`: it had less than before, or nothing; the key and so
   * many readings of this tab are written again, and blocks are fetched again from peers. Null: nothing was lost.
   */
  | { kind: "storage-reopened"; readings: number | null }
  /** When the tab was started its database had lost what a copy beside it tells of: `saved` readings were put back, and so
   * many are lost for good. The key is the same. */
  | { kind: "storage-lost"; readings: number; saved: number }
  /** This computer's clock was set back while the tab ran. */
  | { kind: "clock-set-back"; byMs: number }
  /** It was set ahead, and the clocks of peers do not agree. */
  | { kind: "clock-set-ahead"; byMs: number }
  /** Readings that a closed tab of this browser, which had this slot, had not shared were taken over. */
  | { kind: "readings-adopted"; readings: number; slot: number };

/** A change of the best branch: blocks `from` to `to` are new, and what was above `to` is gone. */
export interface ChainChange {
  from: number;
  to: number;
  /** Whether blocks were left for others. */
  reorg: boolean;
}

/** What each event of a node carries as `detail`. */
export interface NodeEventMap {
  /** Something that `status()` shows changed. */
  status: NodeStatus;
  /** The best branch changed. */
  chain: ChainChange;
  /** Something that `peers()` shows changed. */
  peers: PeerStatus[];
  /** A reading is new among those that wait for a block, this tab's own or another's. */
  reading: Reading;
  /** A person should hear of something. */
  notice: Notice;
}

export interface Node {
  /**
   * The readings that wait for a block: at most 100, or as many as are asked for, up to 16,384. `status().mempool` says
   * how many there are.
   */
  pending(limit?: number): Reading[];
  /** The readings recorded in this tab, the newest first: at most 100, or as many as are asked for, up to 10,000. */
  ownReadings(limit?: number): OwnReading[];
  /** Calls the listener for each event of this type, until it is removed. */
  addEventListener<K extends keyof NodeEventMap>(
    type: K,
    listener: ((event: CustomEvent<NodeEventMap[K]>) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** Calls the listener no more. */
  removeEventListener<K extends keyof NodeEventMap>(
    type: K,
    listener: ((event: CustomEvent<NodeEventMap[K]>) => void) | null,
    options?: boolean | EventListenerOptions,
  ): void;
}
