//! The lessons' sentences in Korean: loaded with the lessons, not before. Never markup: every value becomes text.

export default {
  "lesson.intro":
    "체인을 망가뜨려 보세요. 아래의 모든 일은 이 탭의 진짜 피어가 하며 이 탭에서만 일어납니다. 방에는 아무 해가 없고, 이 모드를 끄거나 페이지를 새로 고치면 되돌아갑니다.",
  "lesson.failed": (v) => `하지 못했습니다: ${v.reason}`,
  "lesson.noReading": "기록이 담긴 블록이 아직 없습니다. 하나를 기록하고 블록에 담길 때까지 기다린 뒤 다시 해 보세요.",
  "lesson.accept": "모든 피어가 받아들일 것입니다.",
  "lesson.ignore": (v) => `피어들은 받지 않습니다: ${v.reason}.`,
  "lesson.reject": (v) => `피어들이 거부합니다: ${v.reason}.`,
  "lesson.dropped": "그리고 이것을 보낸 피어와는 연결을 끊습니다.",

  "branches.heading": "두 갈래가 만날 때",
  "branches.text":
    "여기에는 우두머리 컴퓨터가 없습니다. 끊긴 쪽은 혼자 이어 가고, 그러면 방의 체인은 두 갈래가 됩니다. 다시 만나면 작업이 더 많은 갈래가 남고, 다른 갈래의 기록은 대기열로 돌아갑니다. 사라지는 기록은 없습니다.",
  "branches.cut": "이 탭을 끊기",
  "branches.join": "다시 참여",
  "branches.alone": (v, n) => `이 탭은 이제 아무와도 통신하지 않습니다. ${n(v.at)}번 블록에서 갈라졌습니다.`,
  "branches.record": "이제 입력란에서 기록해 보세요. 당신이 서명한 진짜 기록이며, 다시 참여하면 다른 사람들에게도 전해집니다.",
  "branches.made": (v, n) =>
    v.count === 0 ? "혼자 만든 블록이 아직 없습니다." : `혼자 블록 ${n(v.count)}개를 만들었습니다(${n(v.tip)}번까지).`,
  "branches.looking": "다시 참여했습니다. 다른 피어를 찾는 중 …",
  "branches.nothing": "혼자 만든 블록이 없어서 정리할 것이 없었습니다.",
  "branches.left": (v, n) => `다른 갈래의 작업이 더 많았습니다. 이 탭은 자기 블록 ${n(v.left)}개를 버리고 그 갈래를 따릅니다.`,
  "branches.kept": (v, n) => `혼자 만든 블록 ${n(v.kept)}개가 가장 좋은 갈래에 있습니다.`,
  "branches.waiting": (v, n) => `그때의 기록 ${n(v.all)}개 중 ${n(v.waiting)}개가 다시 블록을 기다립니다.`,
  "branches.returned": (v, n) => `그때의 기록 ${n(v.all)}개 중 ${n(v.inChain)}개가 모두가 함께 쓰는 체인에 있습니다.`,

  "tampering.heading": "블록 고쳐 보기",
  "tampering.text": "가장 새로운 블록의 사본에서 심박수를 바꾸고, 어떤 계산에서 들통나는지 보세요.",
  "tampering.start": "가장 새로운 블록 고치기",
  "tampering.mend": "계산을 다시 맞추기",
  "tampering.restore": "사본 버리기",
  "tampering.changed": (v, n) => `${n(v.index)}번 블록의 사본에서 ${n(v.was)} BPM을 ${n(v.now)} BPM으로 바꿨습니다. 다시 계산하면:`,
  "tampering.mended": (v, n) => `${n(v.index)}번 블록 사본의 식별자, 루트, 해시를 다시 계산해 맞췄습니다. 끝내 맞출 수 없는 것:`,
  "tampering.signature": (v) => (v.ok ? "모든 작성자가 바로 이 내용에 서명했습니다." : "작성자가 서명한 적 없는 내용이 있습니다."),
  "tampering.root": (v) => (v.ok ? "헤더가 가리키는 기록들이 맞습니다." : "헤더는 다른 기록들을 가리킵니다."),
  "tampering.hash": (v) => (v.ok ? "헤더의 해시가 맞습니다." : "헤더의 해시가 아닙니다."),
  "tampering.work": (v) => (v.ok ? "이 해시를 얻으려고 작업을 했습니다." : "이 해시에는 작업이 없습니다. 모든 시도를 다시 해야 합니다."),
  "tampering.link": (v) => (v.ok ? "아래 블록에 이어집니다." : "아래 블록에 이어지지 않습니다."),
  "tampering.difficulty": (v) => (v.ok ? "규칙이 정한 난이도입니다." : "규칙이 정한 것보다 쉬운 난이도입니다."),
  "tampering.time": (v) => (v.ok ? "앞 블록들보다 늦은 시각입니다." : "앞 블록들보다 이른 시각입니다."),
  "tampering.known": "진짜 블록을 가진 피어는 그것을 지킵니다. 없는 피어는 위의 계산을 해 보고 거부합니다.",
  "tampering.after": (v, n) => `${n(v.next)}번 블록은 옛 해시를 가리킵니다. 그 위도 모두 다시 해야 합니다.`,

  "forgery.heading": "기록 위조하기",
  "forgery.text": "기록에는 작성자의 서명이 있습니다. 무엇이든 바꿔서 퍼뜨리면 누가 믿을까요?",
  "forgery.bpm": "심박수 바꾸기",
  "forgery.author": "다른 이름 적기",
  "forgery.bpmDone": (v, n) => `${v.name}의 기록은 ${n(v.was)} BPM입니다. 위조본은 같은 서명으로 ${n(v.now)} BPM이라고 합니다.`,
  "forgery.authorDone": (v, n) => `${v.name}의 기록은 ${n(v.was)} BPM입니다. 위조본은 ${v.other}의 기록이라고 합니다.`,

  "mining.heading": "채굴 늦추기",
  "mining.text":
    "블록은 해시가 충분히 작아질 때까지 숫자를 바꿔 가며 찾습니다. 제 속도로는 너무 빨라 볼 수 없으니, 이 탭을 늦추고 기록한 뒤 기다리는 모습을 보세요.",
  "mining.pace": "이 탭의 초당 시도",
  "mining.full": "최대 속도",
  "mining.rate": (v, n) => `초당 ${n(v.pace)}번`,
  "mining.tries": (v, n) => `블록 하나에 약 ${n(v.tries)}번의 시도가 필요합니다.`,
  "mining.speed": (v, n) => `이 탭은 마지막으로 채굴할 때 초당 ${n(v.speed)}번 시도했습니다.`,
  "mining.takes": (v) => `이 속도라면 이 탭에서 블록 하나에 약 ${v.time} 걸립니다. 훨씬 짧거나 길 수도 있습니다.`,
  "mining.waiting": (v, n) => (v.count === 0 ? "블록을 기다리는 기록이 없습니다. 하나를 기록해 보세요." : `기록 ${n(v.count)}개가 블록을 기다립니다 …`),
  "mining.others": "다른 피어들은 제 속도로 채굴하니 더 빠를 것입니다. 혼자 하려면 이 탭을 끊으세요.",
};
