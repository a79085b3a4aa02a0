//! The lessons' sentences in English: loaded with the lessons, not before. Never markup: every value becomes text.

const blocks = (count, n) => (count === 1 ? "1 block" : `${n(count)} blocks`);

export default {
  "lesson.intro":
    "Try to break the chain. Everything below is done by this tab's real peer, and concerns this tab alone: it cannot harm the room, and leaving this mode or reloading the page undoes it. Only what you record meanwhile is as real as ever, and stays.",
  "lesson.failed": (v) => `That did not work: ${v.reason}`,
  "lesson.noReading": "There is no block with a reading yet. Record one, wait for its block, then try again.",
  "lesson.accept": "Every peer would take it.",
  "lesson.ignore": (v) => `Peers leave it aside: ${v.reason}.`,
  "lesson.reject": (v) => `Peers refuse it: ${v.reason}.`,
  "lesson.dropped": "And they hang up on whoever sent it.",

  "why.known": "it is known already",
  "why.unknown-parent": "the block that it stands on is not known here",
  "why.too-early": "it is ahead of the clock, and would be tried again later",
  "why.lighter": "it breaks no rule, but its branch has no more work than the best one and would be kept beside it",
  "why.off-the-tree": "it is on a branch that proved invalid, or stands too far below the tip to matter",
  "why.past": "its author's count has gone past its number",
  "why.equivocation": "its author signed another reading with the same number",
  "why.no-place": "there is no place for it among the readings that wait",
  "why.unreadable": "it cannot be read",
  "why.too-long": "it is longer than the rules allow",
  "why.heart-rate": "no heart beats like that",
  "why.reading-time": "its time is no time",
  "why.author": "its author's key is no key",
  "why.signature": "the signature is not its author's",
  "why.version": "it is of another version",
  "why.link": "it does not follow the block that it names",
  "why.difficulty": "its work is not as hard as the rules ask",
  "why.work": "its hash is above the target: the work was not done",
  "why.time": "its time is not later than that of the blocks before it",
  "why.empty": "it has no reading",
  "why.root": "its readings are not those that it was mined for",
  "why.sequence": "one of its readings is not its author's next",
  "why.sender": "they want nothing from such a sender",

  "branches.heading": "Two branches meet",
  "branches.text":
    "No computer is in charge. Whoever is cut off goes on alone, and the room then has two branches. When they meet, the one with more work stays, and the readings of the other return to the queue: none is lost.",
  "branches.cut": "Cut this tab off",
  "branches.join": "Join again",
  "branches.alone": (v, n) => `This tab talks to nobody any more. It left the others at block ${n(v.at)}.`,
  "branches.record":
    "Now record a reading. It is a real one, signed by you: it comes to the others when you join again.",
  "branches.toForm": "Go to the form",
  "branches.own": (v, n) =>
    `Your readings since then: ${n(v.all)}, of which ${n(v.inChain)} are in blocks of your own branch and ${n(v.waiting)} wait for one.`,
  "branches.made": (v, n) =>
    v.count === 0 ? "No block was made alone yet." : `${blocks(v.count, n)} made alone, up to block ${n(v.tip)}.`,
  "branches.looking": "Joined again. Looking for the others …",
  "branches.nothing": "You made no block alone, so there was nothing to settle.",
  "branches.left": (v, n) => `The others' branch had more work. This tab left ${blocks(v.left, n)} of its own and took theirs.`,
  "branches.kept": (v, n) =>
    v.kept === 1 ? "The block that you made alone is in the best branch." : `The ${n(v.kept)} blocks that you made alone are in the best branch.`,
  "branches.waiting": (v, n) => `${n(v.waiting)} of your ${n(v.all)} readings from then wait for a block again.`,
  "branches.returned": (v, n) =>
    v.all === 1 ? "Your reading from then is in the chain that all share." : `${n(v.inChain)} of your ${n(v.all)} readings from then are in the chain that all share.`,

  "step.cut": (v, n) => `Cut off at block ${n(v.at)}: now record a reading.`,
  "step.own": (v, n) =>
    v.all > 1
      ? `${n(v.inChain)} of your ${n(v.all)} readings are in blocks of your own branch.`
      : `Your reading ${v.inChain === 1 ? "is in" : "waits for"} a block of your own branch.`,
  "step.join": "Rejoin",
  "step.back": "Back to the lesson",

  "tampering.heading": "Tamper with a block",
  "tampering.text": "Change a heart rate in a copy of the newest block, and see which sums give it away.",
  "tampering.start": "Tamper with the newest block",
  "tampering.mend": "Make the sums fit again",
  "tampering.restore": "Throw the copy away",
  "tampering.changed": (v, n) => `In the copy of block ${n(v.index)}, ${n(v.was)} BPM became ${n(v.now)} BPM. Its sums, done again:`,
  "tampering.mended": (v, n) =>
    `Ids, root and hash of the copy of block ${n(v.index)} were computed anew, so that they fit. What cannot be made to fit:`,
  "tampering.signature": "An author never signed this.",
  "tampering.root": "The header is about other readings.",
  "tampering.hash": "The hash is not that of the header.",
  "tampering.work": "No work was done for this hash: all its tries would be to do again.",
  "tampering.link": "It does not stand on the block below.",
  "tampering.difficulty": "Its work is easier than the rules ask.",
  "tampering.time": "Its time is earlier than its forerunners'.",
  "tampering.rest": "All its other sums fit.",
  "tampering.known": "Whoever has the real block keeps it. Whoever has not does the sums above, and refuses this one.",
  "tampering.after": (v, n) => `And block ${n(v.next)} names the old hash: everything above would be to do again, too.`,

  "forgery.heading": "Forge a reading",
  "forgery.text": "A reading carries its author's signature. Change anything in it and send it on: who would believe it?",
  "forgery.bpm": "Change its heart rate",
  "forgery.author": "Put another name under it",
  "forgery.bpmDone": (v, n) => `${v.name} measured ${n(v.was)} BPM. The forgery says ${n(v.now)} BPM, under the same signature.`,
  "forgery.authorDone": (v, n) => `${v.name} measured ${n(v.was)} BPM. The forgery says that it was ${v.other}.`,

  "mining.heading": "Slow mining down",
  "mining.text":
    "A block is found by trying numbers until its hash is small enough. At full speed this is too quick to see: slow this tab down, record a reading, and watch it wait.",
  "mining.pace": "Tries a second in this tab",
  "mining.full": "As fast as it can",
  "mining.rate": (v, n) => `${n(v.pace)} a second`,
  "mining.tries": (v, n) => `One block takes about ${n(v.tries)} tries.`,
  "mining.speed": (v, n) => `This tab tried ${n(v.speed)} a second when it last mined.`,
  "mining.takes": (v) => `At this pace a block takes this tab about ${v.time}, sometimes much less or more.`,
  "mining.waiting": (v, n) => (v.count === 0 ? "Nothing waits for a block: record a reading." : v.count === 1 ? "1 reading waits for a block …" : `${n(v.count)} readings wait for a block …`),
  "mining.others": "The others mine at their own pace and will be quicker. Cut this tab off to be the only one.",
};
