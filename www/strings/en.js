//! The page's sentences in English. Never markup: every value becomes text. `strings.js` chooses among the
//! languages; a test holds the catalogues to the same keys.

const peers = ({ all, direct, relayed }, n) => {
  const count = all === 1 ? "1 peer" : `${n(all)} peers`;
  if (all === 1) return `${count} (${direct === 1 ? "direct" : "through the relay"})`;
  const ways = [];
  if (direct > 0) ways.push(`${n(direct)} direct`);
  if (relayed > 0) ways.push(`${n(relayed)} through the relay`);
  return `${count} (${ways.join(", ")})`;
};

const onlyDirect = ({ direct }, n) => (direct === 1 ? "1 direct peer" : `${n(direct)} direct peers`);

export default {
  "status.starting": "Starting …",
  "status.failed": "Not running",
  "status.inSync": (v, n) => `In sync · block ${n(v.block)} · ${peers(v, n)}`,
  "status.catchingUp": (v, n) => `Catching up · block ${n(v.block)} · ${peers(v, n)}`,
  "status.catchingUpTo": (v, n) => `Catching up ${n(v.block)} of ${n(v.known)} · ${peers(v, n)}`,
  "status.alone": "On your own: readings are kept and will be shared",
  "status.aloneWithoutRelay": "Relay unreachable · on your own: readings are kept and will be shared",
  "status.withoutRelay": (v, n) =>
    `Relay unreachable · ${v.relayed === 0 ? onlyDirect(v, n) : peers(v, n)}, still in sync`,

  "language.other": "한국어",

  "room.label": "Room",
  "room.open": "share or change",
  "room.field": "Room name",
  "room.change": "Change room",
  "room.hint": "Everybody who opens the same room shares one chain.",
  "room.empty": "Enter the name of a room.",
  "room.long": (v, n) => `This name is too long: a room's name takes at most ${n(v.max)} bytes, this one ${n(v.found)}.`,
  "room.link": "Link to share",
  "room.copy": "Copy link",
  "room.copied": "Copied.",
  "room.copyRefused": "The browser did not allow copying. Select the link and copy it yourself.",

  "record.heading": "Record a reading",
  "record.field": "Heart rate (BPM)",
  "record.button": "Record",
  "record.invalid": (v, n) => `Enter a whole number from ${n(v.min)} to ${n(v.max)}.`,
  "record.done": (v, n) => `${n(v.bpm)} BPM recorded.`,
  "record.failures": "Not recorded",
  "record.failed": (v, n) => `${n(v.bpm)} BPM was not recorded: ${v.reason}`,
  "record.retry": "Try again",
  "record.retryOf": (v, n) => `Try again to record ${n(v.bpm)} BPM`,
  "record.memory":
    "Readings live in the open tabs of this room. Closing this tab forgets whatever no other tab has yet.",

  "strap.connect": "Connect heart-rate strap",
  "strap.disconnect": "Disconnect strap",
  "strap.choosing": "Choose your strap in the browser's list.",
  "strap.connecting": (v) => `Connecting to ${v.name} …`,
  "strap.on": (v) => `Connected to ${v.name}`,
  "strap.lost": (v) => `${v.name} is out of reach. Trying again …`,
  "strap.unnamed": "the strap",
  "strap.battery": (v, n) => `Battery ${n(v.battery)} %`,
  "strap.interval": "Seconds between readings",
  "strap.intervalHint": "Each reading is the mean of what the strap measured since the one before.",
  "strap.invalid": (v, n) => `Enter a whole number from ${n(v.min)} to ${n(v.max)}.`,
  "strap.noContact": "The strap does not feel your skin, so nothing is recorded. Moisten it and put it on tighter.",
  "strap.ignored": "The strap measures what no heart does, so it is not recorded. Check how it sits.",
  "strap.failed": (v) => `The last reading was not recorded: ${v.reason}`,
  "strap.fault.adapter": "Bluetooth is off or missing. Turn it on, then try again.",
  "strap.fault.blocked": "The browser does not allow this page to use Bluetooth. Allow it in the page's settings, then try again.",
  "strap.fault.other": (v) => `The browser could not look for straps: ${v.reason}`,

  "peers.heading": "Peers",
  "peers.self": "This tab is",
  "peers.none": "Nobody else is here yet. Open this page in another tab, or share the link of the room.",
  "peers.name": "Peer",
  "peers.path": "Path",
  "peers.rtt": "Round trip",
  "peers.height": "Block",
  "peers.direct": "direct",
  "peers.relayed": "through the relay",
  "peers.ms": (v, n) => `${n(v.ms)} ms`,
  "peers.unknown": "unknown",

  "relays.heading": "Relays",
  "relays.none": "No relay is known yet.",
  "relays.reserved": "connected, others can reach you through it",
  "relays.connected": "connected",
  "relays.lost": "unreachable, trying again",

  "chain.heading": "Chain",
  "chain.none": "No reading is in the chain yet. Record the first one.",
  "chain.unreadable": (v) => `The chain could not be read: ${v.reason}`,
  "chain.blocks": "Blocks, newest first",
  "chain.block": (v, n) => `Block ${n(v.index)}`,
  "chain.genesis": "The room's beginning: it follows from the room's name, the same for everybody.",
  "chain.hash": "hash",
  "chain.previous": "previous",
  "chain.readings": (v, n) => (v.count === 1 ? "1 reading" : `${n(v.count)} readings`),
  "chain.more": (v, n) => `${n(v.count)} more`,
  "chain.pages": "Pages of the chain",
  "chain.newer": "Newer blocks",
  "chain.older": "Older blocks",

  "reading.waiting": (v, n) => (v.count === 1 ? "1 reading waiting for a block" : `${n(v.count)} readings waiting for a block`),
  "reading.bpm": (v, n) => `${n(v.bpm)} BPM`,
  "reading.own": "you",

  "failure.start": "Heartchain could not start",
  "failure.broken": "Heartchain stopped working",
  "failure.startAdvice": "Reload the page. If that does not help, tell whoever runs the server of this page.",
  "failure.brokenAdvice": "Reload the page to go on.",
  "failure.addressAdvice": "Check the room and the relays in the address of this page, then reload it. Or",
  "failure.plain": "open the page without them",

  "clock.slow": (v) => `This computer's clock is ${v.by} slow.`,
  "clock.fast": (v) => `This computer's clock is ${v.by} fast.`,

  "withheld.insecure": (v) =>
    `This page came over plain http from another computer, so the browser withholds: ${v.features}. Recording and syncing work all the same.`,
  "withheld.secure": (v) => `This browser does not offer: ${v.features}. Recording and syncing work all the same.`,
  "feature.clipboard": "copying the room's link with a button",
};
