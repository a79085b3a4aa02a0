//! Every tunable of the browser peer, with its unit and its reason; never a rule of the chain (those are in
//! `chain`), never a decision.

use std::time::Duration;

/// The room a tab joins when nobody names one.
pub(crate) const DEFAULT_ROOM: &str = "lobby";

/// Blocks that one call of `blocks()` may ask for: some screens full, and one message of bodies.
pub(crate) const MAX_BLOCKS_A_CALL: u64 = 512;

/// Readings that one call of `ownReadings()` gives at most, and how many it gives when nobody says: some screens full.
pub(crate) const MAX_OWN_READINGS_A_CALL: u64 = 10_000;
/// See [`MAX_OWN_READINGS_A_CALL`].
pub(crate) const OWN_READINGS_A_CALL: u64 = 100;

/// Readings that one call of `pending()` gives at most, which is as many as can wait, and how many it gives when nobody
/// says: all of a full mempool take a quarter of a second, so nobody gets them unasked.
pub(crate) const MAX_PENDING_A_CALL: u64 = chain::mempool::MAX_READINGS as u64;
/// See [`MAX_PENDING_A_CALL`].
pub(crate) const PENDING_A_CALL: u64 = 100;

/// The highest limit of hashes a second that makes sense: no worker reaches it.
pub(crate) const MAX_MINING_LIMIT: u32 = 1_000_000_000;

/// Blocks of an export read and written at a time: half a megabyte of text at ten readings a block.
pub(crate) const EXPORT_BLOCKS_A_PIECE: usize = 128;
/// Waiting readings of an export written at a time.
pub(crate) const EXPORT_READINGS_A_PIECE: usize = 1_024;
/// Bytes of an export gathered before the browser is given them: it may put them on disk, this memory stays small.
pub(crate) const EXPORT_PIECE_LEN: usize = 1024 * 1024;
/// Characters of a file to be imported: some 70,000 blocks of ten readings. A document is parsed as a whole, which takes
/// several times its length in memory, and browsers' strings end at twice that.
pub(crate) const MAX_IMPORT_LEN: u32 = 256_000_000;

/// Notices told to the page after one turn: more than a person reads.
pub(crate) const MAX_NOTICES_A_TURN: usize = 32;

/// Calls of the page that may wait for the driver. A person enters one at a time, a strap one a second.
pub(crate) const MAX_WAITING_COMMANDS: usize = 1_024;

/// Inputs handled before the page is told what they changed: a burst becomes a few events, and no event
/// waits for more than a few milliseconds of work.
pub(crate) const MAX_INPUTS_A_TURN: usize = 64;

/// Orders that may wait for storage. The machine has a few dozen open at most; more means storage is stuck.
pub(crate) const MAX_WAITING_STORE_ORDERS: usize = 1_024;
/// Orders to write that are carried out as one, if so many wait: eight ranges of bodies with what follows from each, 1.3 MB
/// at 10 readings a block.
pub(crate) const MAX_GROUPED_WRITES: usize = 16;

/// How long a store may still take for what it was doing when the browser closed it: a version change lets transactions end,
/// which takes milliseconds; a forced close leaves some without an answer.
pub(crate) const CLOSING_GRACE: Duration = Duration::from_secs(1);
/// Waits between two tries to open again what the browser has closed. A deletion that is under way takes a moment; a disk
/// that fails needs a person.
pub(crate) const REOPEN_RETRY: &[Duration] = &[
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// A reading that is not on disk after so long is told of: 'saving'. A disk at work takes a tenth of that at the most.
pub(crate) const SAVING_AFTER_MS: u64 = 3_000;
/// A store that has not answered for so long, though something waits for it, is stuck.
pub(crate) const STUCK_AFTER_MS: u64 = 10_000;

/// Unconfirmed entries of the journal that have a copy outside of the database: more than an hour of one a second. An entry
/// takes 30 characters there, and browsers allow an origin five million.
pub(crate) const MAX_MIRRORED_ENTRIES: usize = 4_096;
/// Positions of the journal on one page of that copy: one more entry writes 2,000 characters at the most.
pub(crate) const MIRROR_PAGE: u8 = 64;
/// Time in ms between two looks at what is confirmed by now and leaves that copy.
pub(crate) const MIRROR_INTERVAL_MS: u64 = 5_000;

/// How long after its start a tab looks for readings that closed tabs of this browser have not shared.
pub(crate) const ADOPTION_DELAY: Duration = Duration::from_secs(2);
/// Time between two such looks: a tab that was closed meanwhile is found by them, and one that is loaded again has its slot
/// back before.
pub(crate) const ADOPTION_INTERVAL: Duration = Duration::from_secs(15);
/// How long another tab's slot may be held for that: shorter than a tab that is loaded again waits for its own.
pub(crate) const ADOPTION_HOLD: Duration = Duration::from_millis(700);

/// Tabs of one browser that keep what they know, in one room: as many as a person opens, and a test of a class. Each
/// has a database of its own; more tabs keep theirs in memory.
pub(crate) const MAX_SLOTS: u32 = 64;
/// How long a page that was loaded anew waits for its own slot, which its predecessor may not have left yet.
/// A duplicated tab waits in vain.
pub(crate) const SLOT_PATIENCE: Duration = Duration::from_millis(1_000);
/// How long opening a database may take. It needs no more than a moment unless the browser is stuck.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(15);
/// Blocks this far below the highest are settled: side blocks deeper than 1,000 are pruned.
pub(crate) const SETTLED_DEPTH: u64 = 1_024;
/// Settled blocks that are packed into one record: the database reads them four times faster than one by one.
pub(crate) const MAX_SHELF_BLOCKS: usize = 256;
/// Blocks of a branch that come in one stretch, as when a tab catches up, and are worth such a record at once. Ranges that
/// peers are asked for are twice as long.
pub(crate) const MIN_SHELF_BLOCKS: usize = 64;
/// Bytes of such a record, but for its last block: what is read to answer for any one of its blocks.
pub(crate) const MAX_SHELF_LEN: usize = 512 * 1024;
/// Blocks read from their own records at a time, when a tab starts: 8 MiB at the most.
pub(crate) const LOADED_BLOCKS: u32 = 64;
/// Bytes of what is known of one such record's blocks: each reading may have an author of its own.
pub(crate) const MAX_SUMMARY_LEN: usize = 512 * 1024;
/// Of these, as many are read at a time: 8 MiB at the most.
pub(crate) const LOADED_SUMMARIES: usize = 16;
/// Packed records checked at a time while the tab is at work already: 3 MiB at the most.
pub(crate) const CHECKED_SHELVES: usize = 4;
/// A check of them that could not go on is taken up again after so long.
pub(crate) const CHECK_RETRY: Duration = Duration::from_secs(10);
/// A record that could not be read so often, with [`CHECK_RETRY`] in between, while others could, is garbled.
pub(crate) const MAX_CHECK_TRIES: u32 = 3;
/// Entries of any other kind read at a time.
pub(crate) const LOADED_ENTRIES: u32 = 4_096;
/// How old what the browser says of its storage's room may be.
pub(crate) const ESTIMATE_AGE_MS: u64 = 10_000;
/// How long it may take to say so: it takes a few ms, and is asked again.
pub(crate) const ESTIMATE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that blocks leave free, or an eighth of what there is: for one's own readings, a hundred bytes each.
pub(crate) const RESERVED_FOR_OWN: f64 = 4.0 * 1024.0 * 1024.0;
/// Bytes that other blocks leave free beside these: for blocks that are protected, because a reading of theirs is nowhere
/// else.
pub(crate) const RESERVED_FOR_PROTECTED: f64 = 4.0 * 1024.0 * 1024.0;

/// Tries of `blocks()` before it gives up because the chain changed under it each time.
pub(crate) const BLOCKS_READ_TRIES: usize = 3;

/// How often the miner's worker is started again after it failed, at most this slowly.
pub(crate) const MINER_RESTART: &[Duration] = &[
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// Peers that one tab is connected to, relays not counted: every one costs a ping, a gossip queue and a stretch of relay.
pub(crate) const MAX_PEERS: usize = 24;
/// Of these, peers that called, or that are called for another reason than this tab's choice. It leaves as many places as a tab
/// looks for by itself: whoever calls, with as many names as he likes, cannot be all that a tab hears of.
pub(crate) const MAX_GUESTS: usize = MAX_PEERS - WANTED_PEERS;
/// Connections to one peer: a relayed one and a direct one, each twice while two tabs call each other at once.
pub(crate) const MAX_CONNECTIONS_A_PEER: u32 = 4;
/// Of these, circuits: a relay grants a tab so many, and a few peers are not to have them all.
pub(crate) const MAX_CIRCUITS_A_PEER: u32 = 2;
/// Calls under way at one time, each way.
pub(crate) const MAX_PENDING_CONNECTIONS: usize = 16;
/// Peers a tab looks for by itself: gossip needs about six neighbours.
pub(crate) const WANTED_PEERS: usize = 8;
/// Of these, peers that a tab chooses at random among all that it knows of, however many have called it. With more, a class
/// that comes at once would have twice the connections that it needs.
pub(crate) const CHOSEN_PEERS: usize = WANTED_PEERS / 2;
/// Below this many peers a tab looks for others eagerly.
pub(crate) const FEW_PEERS: usize = 3;

/// A call that takes longer (socket, handshakes and all) has failed.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// A relay's address that has not answered by then makes room for another one, and may still come through: a
/// dead WebRTC address says nothing for the whole of [`DIAL_TIMEOUT`].
pub(crate) const DIAL_PATIENCE: Duration = Duration::from_millis(2_500);
/// Calls to one relay that are not waited for any longer, at one time.
pub(crate) const MAX_LATE_CALLS: usize = 4;
/// A relay that has not granted a reservation by then is asked again.
pub(crate) const RESERVATION_TIMEOUT: Duration = Duration::from_secs(15);
/// A reservation that stood for so long and is lost is asked for again at once: to libp2p-relay 0.22 a call to somebody who says
/// nothing for a minute ends the caller's. One that is always lost sooner has to wait.
pub(crate) const STEADY_RESERVATION: Duration = Duration::from_secs(10);
/// Waits before a lost relay is called again, and before a refused reservation is asked for again. The first
/// is short because most relays come right back; the last keeps thirty tabs from hammering a dead one.
pub(crate) const RELAY_REDIAL: &[Duration] = &[
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];
/// Waits before a peer that could not be reached is called again: it may be about to reserve its slot, or be
/// a tab that was closed and whose registration has yet to expire.
pub(crate) const PEER_REDIAL: &[Duration] = &[
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(120),
];
/// How long a peer that does not take part in this room is left alone.
pub(crate) const STRANGER_REST: Duration = Duration::from_secs(600);

/// How long a registration lasts: a closed tab is found by others for at most this long. Longer than a minute,
/// because browsers wake hidden tabs only once a minute.
pub(crate) const RENDEZVOUS_TTL: Duration = Duration::from_secs(120);
/// A registration is renewed after this time: twice within its life, and once again late.
pub(crate) const RENDEZVOUS_RENEW: Duration = Duration::from_secs(40);
/// Time between two discoveries with enough peers.
pub(crate) const DISCOVERY_INTERVAL: Duration = Duration::from_secs(20);
/// Time between two discoveries with few peers, just after something changed.
pub(crate) const EAGER_DISCOVERY_INTERVAL: Duration = Duration::from_millis(1_300);
/// How long "just after" is.
pub(crate) const EAGER_FOR: Duration = Duration::from_secs(30);
/// Time between two discoveries with few peers, after that: whoever comes later finds us by itself.
pub(crate) const LONELY_DISCOVERY_INTERVAL: Duration = Duration::from_secs(5);
/// Registrations asked for at a time: 64 KiB or so; the next answer brings what this one left out.
pub(crate) const MAX_DISCOVERED: u64 = 256;
/// Peers remembered as worth a call. Any 8 of them will do.
pub(crate) const MAX_CANDIDATES: usize = 512;

/// Time between two pings on a connection: what keeps a quiet direct connection's vigil, and the figure beside a peer.
/// libp2p keeps a first failure to itself, so a dead relay is found by its silence, and a dead tab by its browser's.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(2);
/// A ping without an answer by then has failed, and its connection with it, unless a peer of the room is at its far end: that
/// is given [`PEER_SILENCE`].
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(4);
/// A relay that has answered no ping for this long is dead: it may be busy with a class that arrives. With the housekeeping and the
/// goodbye it is noticed within 13 s.
pub(crate) const RELAY_SILENCE: Duration = Duration::from_millis(10_500);
/// A tab that has answered no ping for this long is dead. Longer, because a tab may be busy checking a chain
/// or be throttled.
pub(crate) const PEER_SILENCE: Duration = Duration::from_secs(30);
/// How long closing a connection may wait for the far end to agree. One that is dead never does.
pub(crate) const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection whose far end has not said by then which protocols it speaks is let go.
pub(crate) const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(20);
/// Of two circuits to one peer, the one too many is closed after this long, when what it carried has arrived.
pub(crate) const SURPLUS_AFTER: Duration = Duration::from_secs(2);
/// A circuit to a peer that is reached directly is closed by its caller this long after, when what it carried has
/// arrived.
pub(crate) const UPGRADED_AFTER: Duration = Duration::from_secs(1);
/// How long a direct connection is kept from when the browser calls it disconnected, which is 6 s after the last sign
/// of life.
pub(crate) const DISCONNECTED_GRACE: Duration = Duration::from_millis(400);
/// How long a direct connection is kept without any sign of life: a tab that is killed is missed a little sooner than
/// by what the browser says. With pings every 2 s, both ways, even a tab that is busy is seldom asked for one.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_millis(5_250);
/// How long a circuit to a peer whose direct connection fell silent may stand beside that: a negotiation takes 10 s at
/// most.
pub(crate) const REPLACED_WITHIN: Duration = Duration::from_secs(10);
/// Time between two looks at all connections.
pub(crate) const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(2);
/// A housekeeping that comes this late means that the page slept: nobody is judged by what happened meanwhile.
pub(crate) const SLEPT_AFTER: Duration = Duration::from_secs(6);
/// A connection that nothing uses is closed after this long; gossip and relaying use theirs all the time.
pub(crate) const IDLE_CONNECTION: Duration = Duration::from_secs(600);
/// Streams of one WebSocket or circuit at one time: 24 circuits, gossip, pings, and 4 requests each way.
pub(crate) const MAX_STREAMS_A_CONNECTION: usize = 256;

/// The largest gossip item: a block of 128 KiB with some to spare.
pub(crate) const MAX_GOSSIP_LEN: usize = 160 * 1024;
/// Bytes of a gossip item's id: 160 bits cannot be made to collide.
pub(crate) const GOSSIP_ID_LEN: usize = 20;
/// Gossip items that may wait for their verdict. The machine holds back 64 blocks, and judges all else at once. An item
/// beyond these is not forwarded.
pub(crate) const MAX_UNJUDGED: usize = 1_024;
/// Of these, from one peer: eight peers would have to flood before another's items are not forwarded. The machine holds
/// back 4 blocks of each.
pub(crate) const MAX_UNJUDGED_PER_PEER: usize = 128;
/// A gossip item without a verdict is given up after this long: the machine takes [`sync::config::VERDICT_PATIENCE`] at the most, and
/// gossipsub forgets the item after [`GOSSIP_HISTORY`].
pub(crate) const UNJUDGED_TIMEOUT: Duration = Duration::from_secs(6);
/// Heartbeats (of 1 s) for which an item can still be judged and forwarded.
pub(crate) const GOSSIP_HISTORY: usize = 12;
const _: () = assert!(
    UNJUDGED_TIMEOUT.as_millis() > sync::config::VERDICT_PATIENCE as u128
        && UNJUDGED_TIMEOUT.as_secs() < GOSSIP_HISTORY as u64
);
/// Gossip items queued for one peer before it counts as slow.
pub(crate) const MAX_GOSSIP_QUEUE: usize = 1_000;

/// The longest any request may take; the machine's own deadlines are no longer.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of one connection at one time, both ways: 4 ours, 4 theirs, twice over.
pub(crate) const MAX_REQUEST_STREAMS: usize = 16;
/// Requests of others that may wait for our answer: 4 from each of 24 peers, and some that came to nothing.
pub(crate) const MAX_UNANSWERED: usize = 128;

/// Peers shut out at one time; of more, the one whose time is up first is let in.
pub(crate) const MAX_BANNED: usize = 1_024;

/// Neighbours at which a tab keeps a place, and whom it asks for others: as many as it looks for by itself. [`CHOSEN_PEERS`] of
/// them are of its own choice, if it has so many.
pub(crate) const MAX_INTRODUCERS: usize = WANTED_PEERS;
/// Names that one neighbour may tell: all that it may be connected to.
pub(crate) const MAX_INTRODUCED: usize = 24;
/// Bytes of such an answer: a name takes some 40.
pub(crate) const MAX_INTRODUCTION_LEN: usize = 2 * 1024;
/// How long a neighbour's word counts that somebody is there.
pub(crate) const INTRODUCTION_TTL: Duration = Duration::from_secs(60);
/// Places that a tab keeps for its neighbours: one for each peer.
pub(crate) const MAX_HOP_RESERVATIONS: usize = 24;
/// How long such a place is kept; it is renewed before, and ends with its connection. Neighbours hold the time that they are
/// told of against their own clocks, which may be an hour wrong.
pub(crate) const HOP_RESERVATION: Duration = Duration::from_secs(6 * 60 * 60);
/// Circuits through a tab at one time, in all and of one neighbour.
pub(crate) const MAX_HOP_CIRCUITS: usize = 8;
/// See [`MAX_HOP_CIRCUITS`].
pub(crate) const MAX_HOP_CIRCUITS_A_PEER: usize = 2;
/// How long a circuit through a tab may stand: a direct connection takes a second, and 15 s at most.
pub(crate) const HOP_CIRCUIT_DURATION: Duration = Duration::from_secs(20);
/// Bytes that a circuit through a tab may carry: signals take 10 KiB, and the first questions of sync some more.
pub(crate) const HOP_CIRCUIT_BYTES: u64 = 256 * 1024;

/// Peers a tab may be told to call: as many as it looks for by itself.
pub(crate) const MAX_NAMED_PEERS: usize = WANTED_PEERS;
/// Relays a tab may be told to use.
pub(crate) const MAX_RELAYS: usize = 8;
/// STUN and TURN servers in use: Chromium warns at five.
pub(crate) const MAX_ICE_SERVERS: usize = 4;
/// Addresses of one relay: a dozen network interfaces, two transports.
pub(crate) const MAX_RELAY_ADDRESSES: usize = 32;
/// The largest relay document, in UTF-16 units.
pub(crate) const MAX_DOCUMENT_LEN: u32 = 64 * 1024;
/// How long reading the relay document may take.
pub(crate) const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);
