//! The lessons' texts in English, loaded with the lessons. Values are inserted as text, never as markup.

const blocks = (count, n) => (count === 1 ? "1 block" : `${n(count)} blocks`);

export default {
  "lesson.intro":
    "Try to break the chain. This tab's real peer does everything below, and only this tab is affected: it can't harm the room. Turn this mode off or reload the page to undo it. Readings you record meanwhile are real and stay.",
  "lesson.failed": (v) => `That didn't work: ${v.reason}`,
  "lesson.noReading": "No block has a reading yet. Record one, wait for its block, then try again.",
  "lesson.accept": "Every peer would accept it.",
  "lesson.ignore": (v) => `Peers ignore it: ${v.reason}.`,
  "lesson.reject": (v) => `Peers reject it: ${v.reason}.`,
  "lesson.dropped": "They also disconnect the peer that sent it.",

  "why.known": "they already have it",
  "why.unknown-parent": "the block it builds on is unknown here",
  "why.too-early": "it is ahead of the clock and would be tried again later",
  "why.lighter": "it breaks no rule, but its branch has no more work than the best one and would be kept beside it",
  "why.off-the-tree": "its branch is invalid or too far below the tip to matter",
  "why.past": "its author is already past this number",
  "why.equivocation": "its author signed another reading with the same number",
  "why.other-key": "it is not sealed with this room's key, so that no member can read it",
  "why.no-place": "the queue of waiting readings has no room for it",
  "why.unreadable": "it can't be read",
  "why.too-long": "it is longer than the rules allow",
  "why.heart-rate": "its heart rate is impossible",
  "why.reading-time": "its time is invalid",
  "why.author": "its author's key is invalid",
  "why.signature": "its author didn't sign it",
  "why.version": "it has another version",
  "why.link": "it doesn't follow the block it names",
  "why.difficulty": "its work is easier than the rules require",
  "why.work": "its hash is above the target, so the work was not done",
  "why.time": "its time isn't later than that of the blocks before it",
  "why.empty": "it has no readings",
  "why.root": "its readings aren't those it was mined for",
  "why.sequence": "one of its readings isn't its author's next",
  "why.sender": "they accept nothing from this sender",

  "branches.heading": "Split the chain",
  "branches.text":
    "No computer is in charge. A tab without a connection continues alone, so the room has two branches. When they meet, the branch with more work stays. Readings from the other return to the queue, and none is lost.",
  "branches.cut": "Disconnect this tab",
  "branches.join": "Reconnect",
  "branches.alone": (v, n) => `This tab is disconnected. It left the others at block ${n(v.at)}.`,
  "branches.record": "Now record a reading. It is real and signed by you. The others get it when you reconnect.",
  "branches.toForm": "Go to the form",
  "branches.own": (v, n) =>
    `Your readings since then: ${n(v.all)}. In blocks of your branch: ${n(v.inChain)}. Waiting for one: ${n(v.waiting)}.`,
  "branches.made": (v, n) =>
    v.count === 0 ? "No block made alone yet." : `${blocks(v.count, n)} made alone, up to block ${n(v.tip)}.`,
  "branches.looking": "Reconnected. Looking for the others …",
  "branches.noRelay":
    "Reconnected, but the relay can't be reached, so the others can't be found. This tab keeps its branch and looks on; the lesson continues when the relay is back.",
  "branches.noOthers":
    "Reconnected, but no one else is here. This tab keeps its branch; the lesson continues when someone opens this room.",
  "branches.nothing": "You made no block alone, so there was nothing to settle.",
  "branches.left": (v, n) => `The others' branch had more work. This tab dropped ${blocks(v.left, n)} of its own and follows theirs.`,
  "branches.kept": (v, n) =>
    v.kept === 1 ? "The block you made alone is in the best branch." : `The ${n(v.kept)} blocks you made alone are in the best branch.`,
  "branches.waiting": (v, n) =>
    v.all === 1
      ? "Your reading from then is waiting for a block again."
      : `${n(v.waiting)} of your ${n(v.all)} readings from then ${v.waiting === 1 ? "is" : "are"} waiting for a block again.`,
  "branches.returned": (v, n) =>
    v.all === 1 ? "Your reading from then is in the shared chain." : `${n(v.inChain)} of your ${n(v.all)} readings from then ${v.inChain === 1 ? "is" : "are"} in the shared chain.`,

  "step.cut": (v, n) => `Disconnected at block ${n(v.at)}. Now record a reading.`,
  "step.own": (v, n) =>
    v.all > 1
      ? `${n(v.inChain)} of your ${n(v.all)} readings ${v.inChain === 1 ? "is" : "are"} in blocks of your branch.`
      : `Your reading ${v.inChain === 1 ? "is in" : "is waiting for"} a block of your branch.`,
  "step.noRelay": "The relay can't be reached. The lesson continues when it is back.",
  "step.noOthers": "No one else is here yet. The lesson continues when someone is.",
  "step.join": "Reconnect now",
  "step.back": "Back to the lesson",

  "tampering.heading": "Tamper with a block",
  "tampering.text": "Change a heart rate in a copy of the newest block and see which checks catch it.",
  "tampering.start": "Tamper with the newest block",
  "tampering.recompute": "Recompute the hashes",
  "tampering.restore": "Discard the copy",
  "tampering.changed": (v, n) => `In the copy of block ${n(v.index)}, ${n(v.was)} BPM became ${n(v.now)} BPM. The copy's checks:`,
  "tampering.changedHashes": (v) => `The hash of its readings (Merkle root) was ${v.was} and is now ${v.now}`,
  "tampering.recomputed": (v, n) =>
    `The IDs, the Merkle root and the hash in the copy of block ${n(v.index)} were recomputed. Recomputing can't fix this:`,
  "tampering.recomputedHashes": (v) => `The hash of the block was ${v.was} and is now ${v.now} The zeros, which take the work, are gone.`,
  "tampering.signature": "The author never signed this.",
  "tampering.root": "The header describes other readings.",
  "tampering.hash": "The hash doesn't match the header.",
  "tampering.work": "No work was done for this hash. All tries would have to be repeated.",
  "tampering.link": "It doesn't build on the block below.",
  "tampering.difficulty": "Its work is easier than the rules require.",
  "tampering.time": "Its time is earlier than that of the blocks before it.",
  "tampering.rest": "All other checks pass.",
  "tampering.known": "Peers who have the real block keep it. Others check this one and reject it.",
  "tampering.after": (v, n) => `Block ${n(v.next)} names the old hash, so every block above would have to be mined again, too.`,

  "forgery.heading": "Forge a reading",
  "forgery.text": "A reading carries its author's signature. Change anything in it and send it on: who would believe it?",
  "forgery.bpm": "Change its heart rate",
  "forgery.author": "Change its author",
  "forgery.bpmDone": (v, n) => `${v.name} measured ${n(v.was)} BPM. The forgery says ${n(v.now)} BPM, with the same signature.`,
  "forgery.authorDone": (v, n) => `${v.name} measured ${n(v.was)} BPM. The forgery says it was ${v.other}.`,

  "mining.heading": "Slow mining down",
  "mining.text":
    "A tab finds a block by trying numbers until the hash is small enough. At full speed, that is too quick to see. Slow this tab down, record a reading, and watch it wait.",
  "mining.pace": "Tries per second in this tab",
  "mining.full": "Full speed",
  "mining.rate": (v, n) => `${n(v.pace)} per second`,
  "mining.tries": (v, n) => `A block takes about ${n(v.tries)} tries.`,
  "mining.speed": (v, n) => `When it last mined, this tab made ${n(v.speed)} tries per second.`,
  "mining.takes": (v) => `At this pace, a block takes this tab about ${v.time}, sometimes much less or more.`,
  "mining.waiting": (v, n) => (v.count === 0 ? "Nothing is waiting for a block. Record a reading." : v.count === 1 ? "1 reading is waiting for a block …" : `${n(v.count)} readings are waiting for a block …`),
  "mining.others": "Others mine at their own pace and will be quicker. Disconnect this tab to mine alone.",
};
