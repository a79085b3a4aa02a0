//! The page's texts in English. Values are inserted as text, never as markup. `strings.js` picks the language; a test
//! checks that both catalogues have the same keys.

const some = (count, one, many, n) => (count === 1 ? `1 ${one}` : `${n(count)} ${many}`);

const peers = ({ all, direct, relayed }, n) => {
  const count = some(all, "peer", "peers", n);
  if (all === 1) return `${count} (${direct === 1 ? "direct" : "through the relay"})`;
  const paths = [];
  if (direct > 0) paths.push(`${n(direct)} direct`);
  if (relayed > 0) paths.push(`${n(relayed)} through the relay`);
  return `${count} (${paths.join(", ")})`;
};

const onlyDirect = ({ direct }, n) => some(direct, "direct peer", "direct peers", n);

export default {
  "status.checking": "Ready · checking saved data …",
  "status.starting": "Starting …",
  "status.looking": "Ready · looking for peers …",
  "status.failed": "Not running",
  "status.inSync": (v, n) => `In sync · block ${n(v.block)} · ${peers(v, n)}`,
  "status.catchingUp": (v, n) => `Catching up · block ${n(v.block)} · ${peers(v, n)}`,
  "status.catchingUpTo": (v, n) => `Catching up · block ${n(v.block)} of ${n(v.known)} · ${peers(v, n)}`,
  "status.isolated": "Disconnected by you. Readings are saved and sent when you reconnect.",
  "status.alone": "Only you are here. Readings are saved and shared later.",
  "status.aloneWithoutRelay": "Can't reach the relay. You can keep recording; readings are shared later.",
  "status.withoutRelay": (v, n) =>
    `Can't reach the relay · ${v.relayed === 0 ? onlyDirect(v, n) : peers(v, n)}, still in sync`,

  "language.other": "한국어",

  "room.label": "Room",
  "room.open": "Share",
  "room.field": "Room name",
  "room.change": "Change room",
  "room.hint": "Everyone who opens the same room shares one chain.",
  "room.empty": "Enter a room name.",
  "room.long": (v, n) => `This room name is too long (${n(v.found)} bytes). Use at most ${n(v.max)} bytes.`,
  "room.link": "Link to share",
  "room.onlyHere": (v) =>
    `This link works only on this computer. To let phones and other computers join, start the relay with ${v.option} and open one of the addresses it prints.`,
  "room.copy": "Copy link",
  "room.copied": "Link copied.",
  "room.code": "QR code of the link",
  "room.share": "Share …",
  "room.shareTitle": (v) => `Heartchain · ${v.room}`,
  "room.shareRefused": "Couldn't share. Copy the link instead.",
  "room.copyRefused": "The browser blocked copying. Select the link and copy it yourself.",
  "address.escape": "The room's name in this page's address is damaged: a % must be followed by two digits. Write a % in a name as %25.",
  "address.unknown": "This page can't read the part after # in its address. A room's address ends in #room= and the room's name.",

  "record.heading": "Record a reading",
  "record.field": "Heart rate (BPM)",
  "record.button": "Record",
  "record.invalid": (v, n) => `Enter a whole number from ${n(v.min)} to ${n(v.max)}.`,
  "record.done": (v, n) => `${n(v.bpm)} BPM recorded.`,
  "record.saving": (v, n) => `Saving ${n(v.bpm)} BPM …`,
  "record.failures": "Not recorded",
  "record.failed": (v, n) => `${n(v.bpm)} BPM was not recorded: ${v.reason}`,
  "record.retry": "Try again",
  "record.retryOf": (v, n) => `Try again to record ${n(v.bpm)} BPM`,

  "lesson.switch": "See how it works",
  "lesson.unloaded": "Couldn't load the lessons. The server isn't responding. Turn them on again later.",

  "strap.connect": "Connect heart-rate strap",
  "strap.disconnect": "Disconnect strap",
  "strap.choosing": "Choose your strap in the browser's list.",
  "strap.connecting": (v) => `Connecting to ${v.name} …`,
  "strap.on": (v) => `Connected to ${v.name}`,
  "strap.lost": (v) => `Can't reach ${v.name}. Reconnecting …`,
  "strap.unnamed": "the strap",
  "strap.battery": (v, n) => `Battery ${n(v.battery)} %`,
  "strap.interval": "Seconds between readings",
  "strap.intervalHint": "Each reading is the middle value (median) of what the strap measured since the last one.",
  "strap.visible": "Keep this page in front while you record: browsers slow pages in the background down.",
  "strap.wasHidden": (v) => `This page was in the background for ${v.time}, so readings from that time may be missing.`,
  "strap.all": "Show all devices",
  "strap.anyContact": "Record anyway",
  "strap.needContact": "Record only with skin contact",
  "strap.noPulse": "No pulse found yet.",
  "strap.frozen": (v) => `The value hasn't changed for ${v.time}. Check how the strap sits.`,
  "strap.invalid": (v, n) => `Enter a whole number from ${n(v.min)} to ${n(v.max)}.`,
  "strap.noContact": "No skin contact reported, so nothing is recorded. Moisten and tighten the strap.",
  "strap.ignored": "The strap's value can't be right, so nothing is recorded. Check how the strap sits.",
  "strap.failed": (v) => `The last reading was not recorded: ${v.reason}`,
  "strap.fault.adapter": "Bluetooth is off or missing. Turn it on and try again.",
  "strap.fault.blocked": "The browser blocks Bluetooth on this page. Allow it in the page's settings and try again.",
  "strap.fault.noService": "This device doesn't offer its heart rate. Some watches must be told to share it first.",
  "strap.fault.other": (v) => `Couldn't search for straps: ${v.reason}`,

  "life.heading": "Your readings",
  "life.kept": "Saved, waiting for a block",
  "life.returned": "Waiting again after a fork",
  "life.mined": (v, n) => `In block ${n(v.index)} · ${v.count === 1 ? "1 confirmation" : `${n(v.count)} confirmations`}`,

  "storage.disk": "Saved on this device. You can close this tab without losing readings or the chain.",
  "storage.checking": (v, n) => `Checking ${some(v.blocks, "saved block", "saved blocks", n)} for damage …`,
  "storage.persisted": "Saved on this device for good. The browser won't clear it automatically.",
  "storage.memory": "Not saved on this device, only in this room's open tabs. Closing or reloading may lose readings.",
  "storage.saving": (v, n) => `Saving ${some(v.readings, "reading", "readings", n)} …`,
  "storage.lost": (v, n) => `${some(v.readings, "unshared reading was", "unshared readings were", n)} lost.`,
  "storage.otherTab": (v, n) => `This is tab ${n(v.tab)} of this room on this device. Each tab has its own key, so it records under a name of its own.`,
  "storage.failing-full": "Disk almost full. Free some space, or new readings may be refused.",
  "storage.failing-stuck": "The disk isn't responding. Readings are waiting to be saved, so keep this tab open.",
  "storage.failing-closed": "The browser closed Heartchain's data, so nothing can be saved. If this stays, reload the page.",
  "storage.failing-newer-version": "A newer version of this page is open in another tab. Reload this tab. Until then, it saves nothing.",
  "storage.failing-failed": "The browser couldn't save everything and is trying again. Until then, readings may be refused.",
  "storage.because-asked": "The address of this page asks for that.",
  "storage.because-no-locks": "This browser can't keep tabs apart here (it has no locks, or the page uses plain http).",
  "storage.because-no-database": "This browser has no database here.",
  "storage.because-blocked": "The browser doesn't let this page save anything.",
  "storage.because-no-free-slot": "Other tabs use all of this room's slots on this device.",
  "storage.because-newer-version": "A newer version of Heartchain saved data here. Reload the page to get it.",
  "storage.usage": (v) => `${v.usage} of ${v.quota} used.`,

  "chart.table": "Readings by author",
  "chart.heading": "Heart rates",
  "chart.range": "Time range",
  "chart.range5m": "5 min",
  "chart.range1h": "1 hour",
  "chart.range1d": "1 day",
  "chart.rangeAll": "All",
  "chart.cursor": "Browse readings with the arrow keys",
  "chart.legend": "Latest reading by author",
  "chart.none": "No readings in this period.",
  "chart.summary": (v, n) =>
    `${some(v.count, "reading", "readings", n)} by ${some(v.people, "author", "authors", n)}`,
  "chart.byHourUntil": (v) => `Until ${v.time}, bars show each hour from lowest to highest, and lines its average.`,
  "chart.byHour": "Bars show each hour from lowest to highest, and lines its average.",
  "chart.byDay": "Bars show each day from lowest to highest, and lines its average.",
  "chart.reading": (v, n) => `Reading ${some(v.blocks, "older block", "older blocks", n)} …`,
  "chart.unit": "BPM",
  "chart.span": (v, n) => `${n(v.bpm)} BPM (${n(v.low)}–${n(v.high)})`,
  "chart.spanPoint": (v, n) => `${n(v.bpm)} BPM on average, from ${n(v.low)} to ${n(v.high)}, ${v.name}, ${v.time}`,
  "chart.rest": "At rest",
  "chart.active": "Active",
  "chart.noAverage": "–",
  "chart.weights": "Averages count each reading until the next one, for 10 minutes at most. Active: from 100 BPM on.",
  "chart.lastHeard": (v, n) => `Showing only the ${n(v.count)} most recent authors.`,
  "chart.point": (v, n) => `${n(v.bpm)} BPM, ${v.name}, ${v.time}`,
  "chart.asTable": "Show as table",
  "chart.author": "Author",
  "chart.latest": "Latest",
  "chart.lowest": "Lowest",
  "chart.mean": "Average",
  "chart.highest": "Highest",
  "chart.count": "Readings",

  "peers.heading": "Network",
  "peers.self": "This tab is",
  "peers.none": "No one else is here yet. Open this page in another tab, or share the room's link.",
  "peers.cut": "You disconnected this tab. It has no peers until you reconnect.",
  "peers.name": "Peer",
  "peers.path": "Path",
  "peers.rtt": "Round trip",
  "peers.height": "Block",
  "peers.heightHint": "“Block” is the last block a peer reported, a few seconds ago.",
  "peers.direct": "direct",
  "peers.relayed": "through the relay",
  "peers.ms": (v, n) => `${n(v.ms)} ms`,
  "peers.unknown": "unknown",

  "relays.heading": "Relays",
  "network.relay": "relay",
  "network.summary": (v, n) =>
    `The network as this tab sees it: ${some(v.direct, "peer", "peers", n)} connected directly, ${n(v.relayed)} through a relay, relays: ${n(v.relays)}.`,
  "network.hidden": (v, n) => `${n(v.count)} more in the table only.`,

  "relays.none": "The server of this page hasn't listed its relays yet.",
  "relays.reserved": "connected, others can reach you through it",
  "relays.connected": "connected",
  "relays.lost": "unreachable, trying again",
  "relays.cut": "not used while you are disconnected",

  "chain.heading": "Chain",
  "chain.none": "The chain has no readings yet. Record the first one.",
  "chain.unreadable": (v) => `Couldn't read the chain: ${v.reason}`,
  "chain.blocks": "Blocks, newest first",
  "chain.block": (v, n) => `Block ${n(v.index)}`,
  "chain.genesis": "First block, made from the room's name and rules. Everyone has the same one.",
  "chain.hash": "hash",
  "chain.previous": "previous",
  "chain.readings": (v, n) => some(v.count, "reading", "readings", n),
  "chain.more": (v, n) => `Show ${n(v.count)} more`,
  "chain.moreOf": (v, n) => `+ ${n(v.count)}`,
  "chain.jump": "Go to block",
  "chain.jumpInvalid": (v, n) => `Enter a block number from 0 to ${n(v.max)}.`,
  "chain.go": "Go",
  "chain.newest": "Newest block",

  "fork.badge": "fork",
  "fork.rival": (v) => `The chain dropped another block at this height: ${v.hash}`,
  "fork.picture": "The two branches",
  "fork.heading": "Fork:",
  "fork.sentence": (v, n) =>
    `The chain split after block ${n(v.fork)}. We follow the branch with more work (${some(v.ours, "block", "blocks", n)}). Readings found only in the other (${some(v.theirs, "block", "blocks", n)}) are added again.`,
  "fork.block": (v, n) => n(v.index),
  "fork.ours": "followed",
  "fork.theirs": "dropped",

  "dialog.close": "Close",
  "block.hash": "Hash",
  "block.previous": "Previous hash",
  "block.root": "Merkle root of readings",
  "block.time": "Time",
  "block.work": "Work",
  "block.workOf": (v, n) => `about ${n(Math.round(v.hashes))} hashes (compact target ${v.bits})`,
  "block.noWork": "none: the first block needs none",
  "block.noPrevious": (v) => `${v.hash} (not a block's: made from the room's name and rules)`,
  "block.noTime": "0, the same for everyone",
  "block.nonce": "Nonce",
  "block.depth": "Depth",
  "block.depthOf": (v, n) => (v.count === 0 ? "the newest block" : `${some(v.count, "block", "blocks", n)} on top of it`),
  "block.deepest": "at the bottom of the chain",
  "block.left": "dropped after a fork: the chain now has another block at this height",
  "block.author": "Author",
  "block.bpm": "BPM",
  "block.readings": "Readings in this block",
  "block.readingTime": "Time",
  "block.seq": "Number",
  "block.id": "ID",
  "block.signature": "Signature",
  "block.before": "Previous block",
  "block.after": "Next block",

  "check.button": "Check it yourself",
  "check.hint": "Recomputes the hash, work, link, Merkle root, rules and every signature, here in this tab.",
  "check.good": "This block is valid.",
  "check.bad": "This block was changed or is invalid.",
  "check.failed": (v) => `Couldn't check the block: ${v.reason}`,
  "check.hashGood": "The hash matches the block's contents.",
  "check.hashBad": "The hash doesn't match the block's contents, which give:",
  "check.workGood": "The hash is below the target: the work was done.",
  "check.workBad": "The hash is above the target: the work was not done.",
  "check.linkGood": "It builds on the previous block in this tab.",
  "check.linkBad": "It doesn't build on the previous block in this tab:",
  "check.rootGood": "The readings are exactly those the block was mined for.",
  "check.rootBad": "The readings are not those the block was mined for:",
  "check.difficultyGood": "The target is the one the rules require at this height.",
  "check.difficultyBad": "The rules require another target at this height:",
  "check.timeGood": "Its time follows that of the blocks before it.",
  "check.timeBad": "Its time is earlier than that of the blocks it builds on.",
  "check.signaturesGood": (v, n) => (v.count === 1 ? "The reading is signed by its author." : `All ${n(v.count)} readings are signed by their authors.`),
  "check.signaturesBad": (v, n) => `${n(v.bad)} of ${n(v.count)} readings are not what their authors signed:`,

  "data.heading": "Data",
  "data.hint": "Export the whole chain, or import one. Imports are checked like anything from a stranger.",
  "data.json": "Export JSON",
  "data.csv": "Export CSV",
  "data.import": "Import JSON …",
  "data.exporting": "Writing the file …",
  "data.exported": "The file is in your downloads.",
  "data.exportFailed": (v) => `Couldn't write the file: ${v.reason}`,
  "data.importing": "Reading and checking the file …",
  "data.imported": (v, n) =>
    `The file has ${some(v.blocks, "block", "blocks", n)} and ${some(v.readings, "reading", "readings", n)}. New here: ${some(v.newBlocks, "block", "blocks", n)} and ${some(v.newReadings, "reading", "readings", n)}.`,
  "data.importFailed": (v) => `The import stopped: ${v.reason}`,
  "data.tooLarge": (v) => `the file is ${v.found}, and the limit is ${v.max} (some 70,000 blocks). Connect to a tab that has the chain to get it over the network instead.`,

  "trust.heading": "How far you can trust this chain",
  "trust.can": "What it guarantees",
  "trust.forge": "No one can forge a reading. Each is signed with its author's key, for this room only.",
  "trust.alter": "No one can change a reading unnoticed. Hashes link the blocks, and every tab checks every block.",
  "trust.erase": "No one can erase readings of an author who comes back. Readings dropped in a fork return to the queue.",
  "trust.cannot": "What it can't guarantee",
  "trust.work":
    "Anyone with more computing power than the whole room can reorder blocks and delay readings for as long as they pay for it. Nothing is ever final. Deeper is safer.",
  "trust.claim":
    "Time and value are what the author claims. The chain proves who said it and that it hasn't changed since, not that it is true.",
  "trust.who": "A key means “the same as before”, not who someone is. Everyone who knows the room's name can read it.",
  "trust.address": "Tabs that are connected directly see each other's addresses.",

  "reading.waiting": (v, n) =>
    v.count === 0 ? "No readings are waiting for a block" : v.count === 1 ? "1 reading waiting for a block" : `${n(v.count)} readings waiting for a block`,
  "reading.waitingHint": "New readings wait here until a tab mines a block for them.",
  "reading.bpm": (v, n) => `${n(v.bpm)} BPM`,
  "reading.own": "you",

  "error.notStored": "this device couldn't save the reading; free some space and enter it again",
  "error.journalFull": (v, n) => `you have already recorded ${n(v.limit)} readings in this room, which is the limit; continue in another room`,
  "error.tooManyReadings": (v, n) => `too many readings at once, with ${n(v.limit)} already waiting to be saved; wait a moment and enter it again`,
  "error.busy": (v, n) => `too many requests at once, with ${n(v.limit)} already waiting; wait a moment and try again`,
  "error.stopped": "this tab's peer has stopped; reload the page",
  "error.storage": (v) => `saving failed (${v.reason}); free some space on this device and try again`,
  "error.slowStorage": (v, n) => `the disk is too slow, with ${n(v.limit)} operations waiting; wait a moment and try again`,
  "error.noRandomness": "this browser can't create secure random numbers, so there is no key; try another browser",
  "error.broke": (v) => `something unexpected happened: ${v.reason}`,

  "error.noDocument": "this isn't a file exported by Heartchain; choose one whose name ends in .json",
  "error.format": (v) => `this page can't read the format “${v.found}”; reload the page to get the newest version`,
  "error.otherRoom": (v) => `this file belongs to the room “${v.found}”; open that room and import it there`,
  "error.otherRules": "this file belongs to another room with the same name but different rules",
  "error.badBlock": (v, n) => `block number ${n(v.position)} in this file was changed or can't be read`,
  "error.badReading": (v, n) => `waiting reading number ${n(v.position)} in this file was changed or can't be read`,
  "error.import": (v) => `this file breaks a rule of the chain; everything before that was kept, the rest was not imported (${v.reason})`,
  "error.leftBehind": "the chain changed too much while the file was written; export it again",

  "error.changing": "the chain is changing right now; it is read again with the next block",
  "error.notWritten": (v) => `the browser couldn't save it (${v.reason}); free some space on this device and export it again`,
  "error.notLoaded": (v, n) => `couldn't load ${v.file}: the server answered ${n(v.status)}`,

  "error.relayUnreadable": (v) => `“${v.given}” isn't a relay address; use one like /ip4/127.0.0.1/tcp/8081/ws/p2p/12D3Koo…`,
  "error.relayUndialable": (v) => `browsers can't reach the relay “${v.given}”; its address must contain /ws, /tls/ws or /webrtc-direct/certhash/…`,
  "error.relayUnencrypted": (v) =>
    `the relay “${v.given}” isn't encrypted, so a page loaded over https can't use it; use its address with /tls/ws or /webrtc-direct`,
  "error.peerAddress": (v) =>
    `“${v.given}” doesn't name a peer and a relay to reach it; use an address like /ip4/127.0.0.1/tcp/8081/ws/p2p/12D3Koo…/p2p-circuit/p2p/12D3Koo…`,
  "error.iceServer": (v) => `“${v.given}” isn't a STUN server; use one like stun:stun.example:3478`,
  "error.tooManyRelays": (v, n) => `too many relays; remove some to stay within ${n(v.limit)}`,
  "error.tooManyPeers": (v, n) => `too many peers to dial; remove some to stay within ${n(v.limit)}`,
  "error.tooManyIceServers": (v, n) => `too many STUN servers; remove some to stay within ${n(v.limit)}`,

  "failure.start": "Heartchain couldn't start",
  "failure.broken": "Heartchain stopped working",
  "failure.startAdvice": "Reload the page. If that doesn't help, contact the person who runs this page's server.",
  "failure.brokenAdvice": "Reload the page to continue.",
  "failure.addressAdvice": "Check the room and the relays in this page's address, then reload it. Or",
  "failure.plain": "open the page without them",

  "notice.dismiss": "Dismiss",
  "notice.equivocation": (v, n) =>
    `${v.name} signed two different readings with number ${n(v.seq)}. One may disappear from the chain. Be careful trusting ${v.name}.`,
  "notice.keyReplaced": (v) =>
    `This tab's key is also in use elsewhere, so the tab has a new key and is now ${v.name}. Its earlier readings stay in the chain.`,
  "notice.repaired": (v, n) =>
    v.records === 1
      ? "Found 1 damaged record on this device. Fetching it again from others."
      : `Found ${n(v.records)} damaged records on this device. Fetching them again from others.`,
  "notice.storageReopened": "The browser had closed Heartchain's data. It is open again, and nothing is lost.",
  "notice.storageReset": (v, n) =>
    `The browser deleted Heartchain's data while the page was open. Your key and ${some(v.readings, "reading", "readings", n)} were saved again. Blocks are fetched again from the room.`,
  "notice.storageLost": (v, n) => {
    const saved =
      v.saved === 0
        ? "Your key is the same."
        : `Your key is the same, and ${some(v.saved, "waiting reading was", "waiting readings were", n)} restored from a copy.`;
    const lost = v.readings === 0 ? "" : ` ${some(v.readings, "unshared reading was", "unshared readings were", n)} lost.`;
    return `The browser lost some of Heartchain's data on this device. ${saved} Confirmed readings are fetched again from the room.${lost}`;
  },
  "notice.clockSetBack": (v) => `This device's clock was set back by ${v.by}.`,
  "notice.clockSetAhead": (v) => `This device's clock was set ahead by ${v.by} and disagrees with others. Check it.`,
  "notice.readingsAdopted": (v, n) => `Took over ${some(v.readings, "reading", "readings", n)} from another tab on this device.`,
  "notice.update": "A newer version of this page is ready.",
  "notice.incomplete": "Parts of this page couldn't be loaded. Everything else works.",
  "notice.replaced": "There is a newer version of this page. Parts of this one can't be loaded any more.",
  "notice.reload": "Reload",

  "clock.slow": (v) => `This device's clock is ${v.by} slow. Correct it, or others may reject your blocks for a while.`,
  "clock.fast": (v) => `This device's clock is ${v.by} fast. Correct it, or others may reject your blocks for a while.`,
  "clock.heldBack": (v, n) =>
    v.blocks === 1
      ? `1 newer block is waiting until ${v.time} on this device's clock.`
      : `${n(v.blocks)} newer blocks are waiting, the first until ${v.time} on this device's clock.`,

  "withheld.insecure": (v) =>
    `This page was opened over plain http from another computer, so the browser blocks: ${v.features}. Recording and syncing still work.`,
  "withheld.secure": (v) => `This browser doesn't support: ${v.features}. Recording and syncing still work.`,
  "feature.clipboard": "copying the room's link with a button",
};
