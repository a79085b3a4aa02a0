//! The page's sentences in English. Never markup: every value becomes text. `strings.js` chooses among the
//! languages; a test holds the catalogues to the same keys.

const some = (count, one, many, n) => (count === 1 ? `1 ${one}` : `${n(count)} ${many}`);

const peers = ({ all, direct, relayed }, n) => {
  const count = some(all, "peer", "peers", n);
  if (all === 1) return `${count} (${direct === 1 ? "direct" : "through the relay"})`;
  const ways = [];
  if (direct > 0) ways.push(`${n(direct)} direct`);
  if (relayed > 0) ways.push(`${n(relayed)} through the relay`);
  return `${count} (${ways.join(", ")})`;
};

const onlyDirect = ({ direct }, n) => some(direct, "direct peer", "direct peers", n);

export default {
  "status.checking": "Ready · checking what is stored …",
  "status.starting": "Starting …",
  "status.looking": "Ready · looking for others …",
  "status.failed": "Not running",
  "status.inSync": (v, n) => `In sync · block ${n(v.block)} · ${peers(v, n)}`,
  "status.catchingUp": (v, n) => `Catching up · block ${n(v.block)} · ${peers(v, n)}`,
  "status.catchingUpTo": (v, n) => `Catching up ${n(v.block)} of ${n(v.known)} · ${peers(v, n)}`,
  "status.isolated": "Cut off by you: readings are kept, and shared when you join again",
  "status.alone": "On your own: readings are kept and will be shared",
  "status.aloneWithoutRelay": "Relay unreachable · on your own: readings are kept and will be shared",
  "status.withoutRelay": (v, n) =>
    `Relay unreachable · ${v.relayed === 0 ? onlyDirect(v, n) : peers(v, n)}, still in sync`,

  "language.other": "한국어",

  "room.label": "Room",
  "room.open": "Share",
  "room.field": "Room name",
  "room.change": "Change room",
  "room.hint": "Everybody who opens the same room shares one chain.",
  "room.empty": "Enter the name of a room.",
  "room.long": (v, n) => `This name is too long: a room's name takes at most ${n(v.max)} bytes, this one ${n(v.found)}.`,
  "room.link": "Link to share",
  "room.onlyHere": (v) =>
    `This address works on this computer only. To let phones and other computers join, start the relay with ${v.option} and open one of the addresses that it prints.`,
  "room.copy": "Copy link",
  "room.copied": "Copied.",
  "room.code": "QR code of the link",
  "room.share": "Share …",
  "room.shareTitle": (v) => `Heartchain · ${v.room}`,
  "room.shareRefused": "The browser could not share. Copy the link instead.",
  "room.copyRefused": "The browser did not allow copying. Select the link and copy it yourself.",

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
  "lesson.unloaded": "The lessons could not be loaded: the server of this page did not answer. Turn them on again when it does.",

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

  "life.heading": "Your readings",
  "life.kept": "Kept, waiting for a block",
  "life.returned": "Back in the queue after a fork",
  "life.mined": (v, n) => `In block ${n(v.index)} · ${v.count === 1 ? "1 confirmation" : `${n(v.count)} confirmations`}`,

  "storage.disk": "Kept on this computer: readings and chain survive closing this tab.",
  "storage.checking": (v, n) => `Checking ${n(v.blocks)} stored blocks for damage …`,
  "storage.persisted": "Kept on this computer for good: the browser does not clear it by itself.",
  "storage.memory": "Kept in the open tabs of this room only: closing this tab forgets what no other tab has.",
  "storage.saving": (v, n) => `Saving ${some(v.readings, "reading", "readings", n)} …`,
  "storage.lost": (v, n) => `${some(v.readings, "reading", "readings", n)} that had not been shared ${v.readings === 1 ? "is" : "are"} lost.`,
  "storage.failing-full": "Not everything finds room on this computer: make room on its disk. Until then readings may be refused.",
  "storage.failing-stuck": "This computer's disk does not answer. Readings wait to be saved, so keep this tab open.",
  "storage.failing-closed": "The browser has closed Heartchain's data, so nothing can be saved. If this stays, reload the page.",
  "storage.failing-newer-version": "A newer version of this page runs in another tab. Reload this tab: until then it saves nothing.",
  "storage.failing-failed": "The browser could not save everything on this computer and tries again. Until then readings may be refused.",
  "storage.because-asked": "The address of this page asks for that.",
  "storage.because-no-locks": "This browser cannot keep tabs apart here (it has no locks, or the page came over plain http).",
  "storage.because-no-database": "This browser has no database here.",
  "storage.because-blocked": "The browser does not let this page store anything.",
  "storage.because-no-free-slot": "All places of this room on this computer are taken by other tabs.",
  "storage.because-newer-version": "A newer Heartchain has stored here: reload the page to get it.",
  "storage.usage": (v) => `${v.usage} of ${v.quota} used.`,

  "chart.table": "Readings of each author",
  "chart.heading": "Heart rates",
  "chart.range": "Time shown",
  "chart.range5m": "5 min",
  "chart.range1h": "1 hour",
  "chart.range1d": "1 day",
  "chart.rangeAll": "All",
  "chart.cursor": "Readings, by arrow keys",
  "chart.legend": "Latest reading of each",
  "chart.none": "No reading in this time yet.",
  "chart.summary": (v, n) =>
    `${some(v.count, "reading", "readings", n)} of ${some(v.people, "author", "authors", n)}`,
  "chart.newest": (v, n) => `Only the newest ${n(v.count)} readings are drawn, from ${v.time} on.`,
  "chart.lastHeard": (v, n) => `Only the ${n(v.count)} authors heard last are drawn.`,
  "chart.point": (v, n) => `${n(v.bpm)} BPM, ${v.name}, ${v.time}`,
  "chart.asTable": "As a table",
  "chart.author": "Author",
  "chart.latest": "Latest",
  "chart.lowest": "Lowest",
  "chart.mean": "Mean",
  "chart.highest": "Highest",
  "chart.count": "Readings",

  "peers.heading": "Network",
  "peers.self": "This tab is",
  "peers.none": "Nobody else is here yet. Open this page in another tab, or share the link of the room.",
  "peers.cut": "This tab is cut off: it reaches nobody until you join again.",
  "peers.name": "Peer",
  "peers.path": "Path",
  "peers.rtt": "Round trip",
  "peers.height": "Block",
  "peers.heightHint": "A peer's block is the one that it last told of, a few seconds ago.",
  "peers.direct": "direct",
  "peers.relayed": "through the relay",
  "peers.ms": (v, n) => `${n(v.ms)} ms`,
  "peers.unknown": "unknown",

  "relays.heading": "Relays",
  "network.relay": "relay",
  "network.summary": (v, n) =>
    `The network as this tab sees it: ${some(v.direct, "peer", "peers", n)} connected directly, ${n(v.relayed)} through a relay, relays: ${n(v.relays)}.`,
  "network.hidden": (v, n) => `${n(v.count)} more are in the table only.`,

  "relays.none": "The server of this page has not said yet which relays there are.",
  "relays.reserved": "connected, others can reach you through it",
  "relays.connected": "connected",
  "relays.lost": "unreachable, trying again",
  "relays.cut": "left alone while this tab is cut off",

  "chain.heading": "Chain",
  "chain.none": "No reading is in the chain yet. Record the first one.",
  "chain.unreadable": (v) => `The chain could not be read: ${v.reason}`,
  "chain.blocks": "Blocks, newest first",
  "chain.block": (v, n) => `Block ${n(v.index)}`,
  "chain.genesis": "The room's beginning: it follows from the room's name, the same for everybody.",
  "chain.hash": "hash",
  "chain.previous": "previous",
  "chain.readings": (v, n) => some(v.count, "reading", "readings", n),
  "chain.more": (v, n) => `${n(v.count)} more`,
  "chain.moreOf": (v, n) => `+ ${n(v.count)}`,
  "chain.jump": "Go to block",
  "chain.jumpInvalid": (v, n) => `Enter a block from 0 to ${n(v.max)}.`,
  "chain.go": "Go",
  "chain.newest": "Newest block",

  "fork.badge": "fork",
  "fork.rival": (v) => `At this height there was another block, which was left: ${v.hash}`,
  "fork.picture": "The two branches",
  "fork.heading": "Fork:",
  "fork.sentence": (v, n) =>
    `after block ${n(v.fork)} the chain goes on in two ways. This tab follows the one with more work (${n(v.ours)} long); the other (${n(v.theirs)} long) is left, and the readings that only it has wait until a block of this one takes them.`,
  "fork.block": (v, n) => n(v.index),
  "fork.ours": "followed",
  "fork.theirs": "left",

  "dialog.close": "Close",
  "block.hash": "Hash",
  "block.previous": "Previous hash",
  "block.root": "Readings' root",
  "block.time": "Time",
  "block.work": "Work",
  "block.workOf": (v, n) => `about ${n(Math.round(v.hashes))} hashes (compact target ${v.bits})`,
  "block.noWork": "none: the beginning needs none",
  "block.noPrevious": (v) => `${v.hash} (of no block: of the room's name and rules)`,
  "block.noTime": "0, as for everybody",
  "block.nonce": "Nonce",
  "block.depth": "Depth",
  "block.depthOf": (v, n) => (v.count === 0 ? "the newest block" : v.count === 1 ? "1 block on top of it" : `${n(v.count)} blocks on top of it`),
  "block.deepest": "below all others",
  "block.left": "left by a fork: the chain has another block at this height now",
  "block.author": "Author",
  "block.bpm": "BPM",
  "block.readings": "Readings of this block",
  "block.readingTime": "Time",
  "block.seq": "Number",
  "block.id": "Id",
  "block.signature": "Signature",
  "block.before": "Block before",
  "block.after": "Block after",

  "check.button": "Check it yourself",
  "check.hint": "Recomputes the hash, the work, the link, the readings' root, the rules and every signature, here in this tab.",
  "check.good": "Everything in this block is as it should be.",
  "check.bad": "This block is not what it claims to be.",
  "check.failed": (v) => `The block could not be checked: ${v.reason}`,
  "check.hashGood": "The hash is the hash of the block's contents.",
  "check.hashBad": "The block's contents have another hash than it says:",
  "check.workGood": "The hash is below the target: the work was done.",
  "check.workBad": "The hash is above the target: the work was not done.",
  "check.linkGood": "It builds on the block before, as this tab has it.",
  "check.linkBad": "It does not build on the block before, as this tab has it:",
  "check.rootGood": "The readings are exactly those that the block was made for.",
  "check.rootBad": "The readings are not those that the block was made for:",
  "check.difficultyGood": "The target is what the rules ask for at this height.",
  "check.difficultyBad": "The rules ask for another target at this height:",
  "check.timeGood": "Its time follows on the blocks before it.",
  "check.timeBad": "Its time lies before that of the blocks that it builds on.",
  "check.signaturesGood": (v, n) => (v.count === 1 ? "The reading is signed by its author." : `All ${n(v.count)} readings are signed by their authors.`),
  "check.signaturesBad": (v, n) => `${n(v.bad)} of ${n(v.count)} readings are not what their authors signed:`,

  "data.heading": "Data",
  "data.hint": "Take the whole chain along, or bring one back: what is imported is checked like anything from a stranger.",
  "data.json": "Export JSON",
  "data.csv": "Export CSV",
  "data.import": "Import JSON …",
  "data.exporting": "Writing the file …",
  "data.exported": "The file is in your downloads.",
  "data.exportFailed": (v) => `The file could not be written: ${v.reason}`,
  "data.importing": "Reading and checking the file …",
  "data.imported": (v, n) =>
    `The file holds ${some(v.blocks, "block", "blocks", n)} and ${some(v.readings, "reading", "readings", n)}; new here: ${some(v.newBlocks, "block", "blocks", n)} and ${some(v.newReadings, "reading", "readings", n)}.`,
  "data.importFailed": (v) => `The import stopped: ${v.reason}`,
  "data.tooLarge": (v) => `the file has ${v.found}, and at most ${v.max} can be imported: some 70,000 blocks. A tab that has the chain can give it to this one over the network instead.`,

  "trust.heading": "How this chain can and cannot be trusted",
  "trust.can": "It can",
  "trust.forge": "Nobody can forge a reading: each is signed by its author's key, for this room only.",
  "trust.alter": "Nobody can change a reading unseen: blocks are bound by their hashes, and every tab checks every one.",
  "trust.erase": "Nobody can erase a reading of an author who comes back: what a fork leaves out returns to the queue.",
  "trust.cannot": "It cannot",
  "trust.work":
    "Whoever out-computes the whole room can reorder blocks and keep readings waiting for as long as they pay for it. Nothing is ever final; deeper is safer.",
  "trust.claim":
    "Time and value are what the author claims. The chain proves who said it and that it has not changed since, not that it is true.",
  "trust.who": "A key says “the same as before”, not who somebody is. Everybody who knows the room's name can read it.",
  "trust.address": "Tabs that are connected directly know each other's addresses.",

  "reading.waiting": (v, n) =>
    v.count === 0 ? "No reading waits for a block" : v.count === 1 ? "1 reading waiting for a block" : `${n(v.count)} readings waiting for a block`,
  "reading.waitingHint": "A new reading waits here until one of the tabs has mined a block for it.",
  "reading.bpm": (v, n) => `${n(v.bpm)} BPM`,
  "reading.own": "you",

  "error.notStored": "the reading could not be kept on this computer, so it was not recorded; make room and enter it again",
  "error.journalFull": (v, n) => `you have recorded ${n(v.limit)} readings in this room, and there is no place for more; go on in another room`,
  "error.tooManyReadings": (v, n) => `too many readings at once: ${n(v.limit)} already wait to be kept; wait a moment and enter it again`,
  "error.busy": (v, n) => `too much at once: ${n(v.limit)} wishes already wait; wait a moment and try again`,
  "error.stopped": "this tab's peer has stopped; reload the page",
  "error.storage": (v) => `storing failed (${v.reason}); make room on this computer's disk and try again`,
  "error.slowStorage": (v, n) => `the disk is too slow: ${n(v.limit)} orders wait for it; wait a moment and try again`,
  "error.noChance": "this browser gives no random numbers, and without them there is no key; try another browser",
  "error.broke": (v) => `something unforeseen happened: ${v.reason}`,

  "error.noDocument": "this is no file that Heartchain exported; choose one whose name ends in .json",
  "error.format": (v) => `this file has the format “${v.found}”, which this page does not read; reload the page to get the newest version`,
  "error.otherRoom": (v) => `this file is of the room “${v.found}”; open that room and import it there`,
  "error.otherRules": "this file is of another room with the same name: its rules differ from this one's",
  "error.badBlock": (v, n) => `block number ${n(v.position)} of this file was altered, or cannot be read`,
  "error.badReading": (v, n) => `waiting reading number ${n(v.position)} of this file was altered, or cannot be read`,
  "error.import": (v) => `this file breaks a rule of the chain, so its rest was not taken; what came before it is kept (${v.reason})`,
  "error.leftBehind": "the chain changed too much while the file was written; export it again",

  "error.changing": "the chain is changing just now; it is read again with the next block",
  "error.notWritten": (v) => `the browser did not take it (${v.reason}); make room on this computer's disk and export it again`,
  "error.notLoaded": (v, n) => `${v.file} could not be loaded: the server answered ${n(v.status)}`,

  "error.relayUnreadable": (v) => `“${v.given}” is no address of a relay; one looks like /ip4/127.0.0.1/tcp/8081/ws/p2p/12D3Koo…`,
  "error.relayUndialable": (v) => `browsers cannot reach the relay “${v.given}”: its address must contain /ws, /tls/ws or /webrtc-direct/certhash/…`,
  "error.relayUnencrypted": (v) =>
    `the relay “${v.given}” is not encrypted, and a page that was loaded by https may not use it: take its address with /tls/ws or /webrtc-direct`,
  "error.peerAddress": (v) =>
    `“${v.given}” does not say by which relay whom to call; such an address looks like /ip4/127.0.0.1/tcp/8081/ws/p2p/12D3Koo…/p2p-circuit/p2p/12D3Koo…`,
  "error.iceServer": (v) => `“${v.given}” is no STUN server; one looks like stun:stun.example:3478`,
  "error.tooManyRelays": (v, n) => `there are more relays than the ${n(v.limit)} allowed; take some away`,
  "error.tooManyPeers": (v, n) => `there are more peers to call than the ${n(v.limit)} allowed; take some away`,
  "error.tooManyIceServers": (v, n) => `there are more STUN servers than the ${n(v.limit)} allowed; take some away`,

  "failure.start": "Heartchain could not start",
  "failure.broken": "Heartchain stopped working",
  "failure.startAdvice": "Reload the page. If that does not help, tell whoever runs the server of this page.",
  "failure.brokenAdvice": "Reload the page to go on.",
  "failure.addressAdvice": "Check the room and the relays in the address of this page, then reload it. Or",
  "failure.plain": "open the page without them",

  "notice.dismiss": "Dismiss",
  "notice.equivocation": (v, n) =>
    `${v.name} has signed two different readings as number ${n(v.seq)}: one of them may vanish from the chain. Trust that author less.`,
  "notice.keyReplaced": (v) =>
    `This tab's key signs somewhere else, too: it has taken a new one and is ${v.name} now. Its earlier readings stay in the chain.`,
  "notice.healed": (v, n) =>
    v.records === 1
      ? "1 damaged record was found on this computer's disk and is fetched again from others."
      : `${n(v.records)} damaged records were found on this computer's disk and are fetched again from others.`,
  "notice.storageReopened": "The browser had closed Heartchain's data. It is open again, and nothing is lost.",
  "notice.storageReset": (v, n) =>
    `This browser deleted Heartchain's data while the page was open. Your key and ${some(v.readings, "reading", "readings", n)} were saved again; blocks are fetched again from the room.`,
  "notice.storageLost": (v, n) => {
    const saved =
      v.saved === 0
        ? "Your key is the same."
        : `Your key is the same, and ${some(v.saved, "waiting reading was", "waiting readings were", n)} restored from a copy.`;
    const lost = v.readings === 0 ? "" : ` ${some(v.readings, "reading", "readings", n)} that had not been shared ${v.readings === 1 ? "is" : "are"} lost.`;
    return `This browser lost some of Heartchain's data on this computer. ${saved} What was confirmed is fetched again from the room.${lost}`;
  },
  "notice.clockSetBack": (v) => `This computer's clock was set back by ${v.by}.`,
  "notice.clockSetAhead": (v) => `This computer's clock was set ahead by ${v.by}, and the clocks of others do not agree. Check it.`,
  "notice.readingsAdopted": (v, n) => `Readings of another tab on this computer were taken over: ${n(v.readings)}.`,
  "notice.update": "A newer version of this page is ready.",
  "notice.replaced": "There is a newer version of this page, and parts of this one can no longer be loaded.",
  "notice.reload": "Reload",

  "clock.slow": (v) => `This computer's clock is ${v.by} slow. Set it right, or others may refuse your blocks for a while.`,
  "clock.fast": (v) => `This computer's clock is ${v.by} fast. Set it right, or others may refuse your blocks for a while.`,
  "clock.heldBack": (v, n) =>
    v.blocks === 1
      ? `1 newer block waits until its time comes, at ${v.time} by this computer's clock.`
      : `${n(v.blocks)} newer blocks wait until their time comes, from ${v.time} on by this computer's clock.`,

  "withheld.insecure": (v) =>
    `This page came over plain http from another computer, so the browser withholds: ${v.features}. Recording and syncing work all the same.`,
  "withheld.secure": (v) => `This browser does not offer: ${v.features}. Recording and syncing work all the same.`,
  "feature.clipboard": "copying the room's link with a button",
};
