//! The page's sentences in Korean. Never markup: every value becomes text. Same keys as `en.js`.

const peers = ({ all, direct, relayed }, n) => {
  if (all === 1) return `피어 1명(${direct === 1 ? "직접 연결" : "릴레이 경유"})`;
  const ways = [];
  if (direct > 0) ways.push(`직접 연결 ${n(direct)}명`);
  if (relayed > 0) ways.push(`릴레이 경유 ${n(relayed)}명`);
  return `피어 ${n(all)}명(${ways.join(", ")})`;
};

export default {
  "status.starting": "시작하는 중 …",
  "status.failed": "실행되지 않음",
  "status.inSync": (v, n) => `동기화됨 · 블록 ${n(v.block)} · ${peers(v, n)}`,
  "status.catchingUp": (v, n) => `따라잡는 중 · 블록 ${n(v.block)} · ${peers(v, n)}`,
  "status.catchingUpTo": (v, n) => `따라잡는 중 ${n(v.known)}개 중 ${n(v.block)}개 · ${peers(v, n)}`,
  "status.alone": "지금은 혼자입니다. 기록은 보관했다가 나중에 공유합니다",
  "status.aloneWithoutRelay": "릴레이에 연결할 수 없음 · 지금은 혼자입니다. 기록은 보관했다가 나중에 공유합니다",
  "status.withoutRelay": (v, n) =>
    `릴레이에 연결할 수 없음 · ${v.relayed === 0 ? `직접 연결된 피어 ${n(v.direct)}명` : peers(v, n)}, 동기화는 유지됨`,

  "language.other": "English",

  "room.label": "방",
  "room.open": "공유하거나 바꾸기",
  "room.field": "방 이름",
  "room.change": "방 바꾸기",
  "room.hint": "같은 방을 연 사람은 모두 하나의 체인을 공유합니다.",
  "room.empty": "방 이름을 입력하세요.",
  "room.long": (v, n) => `이름이 너무 깁니다. 방 이름은 최대 ${n(v.max)}바이트이고, 입력한 이름은 ${n(v.found)}바이트입니다.`,
  "room.link": "공유할 링크",
  "room.copy": "링크 복사",
  "room.copied": "복사했습니다.",
  "room.copyRefused": "브라우저가 복사를 허용하지 않았습니다. 링크를 선택해서 직접 복사하세요.",

  "record.heading": "심박수 기록",
  "record.field": "심박수 (BPM)",
  "record.button": "기록",
  "record.invalid": (v, n) => `${n(v.min)}에서 ${n(v.max)} 사이의 정수를 입력하세요.`,
  "record.done": (v, n) => `${n(v.bpm)} BPM을 기록했습니다.`,
  "record.failures": "기록하지 못한 값",
  "record.failed": (v, n) => `${n(v.bpm)} BPM을 기록하지 못했습니다: ${v.reason}`,
  "record.retry": "다시 시도",
  "record.retryOf": (v, n) => `${n(v.bpm)} BPM 기록 다시 시도`,
  "record.memory":
    "기록은 이 방을 열어 둔 탭에만 있습니다. 이 탭을 닫으면 아직 다른 탭에 전해지지 않은 기록은 사라집니다.",

  "strap.connect": "심박 센서 연결",
  "strap.disconnect": "심박 센서 연결 끊기",
  "strap.choosing": "브라우저 목록에서 센서를 고르세요.",
  "strap.connecting": (v) => `${v.name} 연결 중 …`,
  "strap.on": (v) => `${v.name} 연결됨`,
  "strap.lost": (v) => `${v.name} 신호가 닿지 않습니다. 다시 시도하는 중 …`,
  "strap.unnamed": "심박 센서",
  "strap.battery": (v, n) => `배터리 ${n(v.battery)} %`,
  "strap.interval": "기록 간격(초)",
  "strap.intervalHint": "기록 하나는 바로 앞 기록 이후에 센서가 잰 값의 평균입니다.",
  "strap.invalid": (v, n) => `${n(v.min)}에서 ${n(v.max)} 사이의 정수를 입력하세요.`,
  "strap.noContact": "센서가 피부에 닿지 않아 기록하지 않습니다. 센서를 물로 적시고 더 단단히 착용하세요.",
  "strap.ignored": "센서가 심장이 낼 수 없는 값을 재고 있어 기록하지 않습니다. 착용 상태를 확인하세요.",
  "strap.failed": (v) => `마지막 값을 기록하지 못했습니다: ${v.reason}`,
  "strap.fault.adapter": "블루투스가 꺼져 있거나 없습니다. 켠 다음 다시 시도하세요.",
  "strap.fault.blocked": "브라우저가 이 페이지의 블루투스 사용을 허용하지 않습니다. 페이지 설정에서 허용한 다음 다시 시도하세요.",
  "strap.fault.other": (v) => `브라우저가 센서를 찾지 못했습니다: ${v.reason}`,

  "peers.heading": "피어",
  "peers.self": "이 탭의 이름:",
  "peers.none": "아직 다른 사람이 없습니다. 다른 탭에서 이 페이지를 열거나 방 링크를 공유하세요.",
  "peers.name": "피어",
  "peers.path": "경로",
  "peers.rtt": "왕복 시간",
  "peers.height": "블록",
  "peers.direct": "직접 연결",
  "peers.relayed": "릴레이 경유",
  "peers.ms": (v, n) => `${n(v.ms)}ms`,
  "peers.unknown": "알 수 없음",

  "relays.heading": "릴레이",
  "relays.none": "아직 알려진 릴레이가 없습니다.",
  "relays.reserved": "연결됨, 다른 피어가 이 릴레이를 거쳐 접속할 수 있음",
  "relays.connected": "연결됨",
  "relays.lost": "연결할 수 없음, 다시 시도하는 중",

  "chain.heading": "체인",
  "chain.none": "아직 체인에 기록이 없습니다. 첫 기록을 남겨 보세요.",
  "chain.unreadable": (v) => `체인을 읽지 못했습니다: ${v.reason}`,
  "chain.blocks": "블록, 최신순",
  "chain.block": (v, n) => `블록 ${n(v.index)}`,
  "chain.genesis": "방의 시작점입니다. 방 이름에서 정해지므로 누구에게나 똑같습니다.",
  "chain.hash": "해시",
  "chain.previous": "이전 블록",
  "chain.readings": (v, n) => `기록 ${n(v.count)}개`,
  "chain.more": (v, n) => `${n(v.count)}개 더 보기`,
  "chain.pages": "체인 페이지",
  "chain.newer": "더 새로운 블록",
  "chain.older": "더 오래된 블록",

  "reading.waiting": (v, n) => `블록을 기다리는 기록 ${n(v.count)}개`,
  "reading.bpm": (v, n) => `${n(v.bpm)} BPM`,
  "reading.own": "나",

  "failure.start": "Heartchain을 시작하지 못했습니다",
  "failure.broken": "Heartchain이 멈췄습니다",
  "failure.startAdvice": "페이지를 새로 고치세요. 그래도 안 되면 이 페이지의 서버를 운영하는 사람에게 알려 주세요.",
  "failure.brokenAdvice": "계속하려면 페이지를 새로 고치세요.",
  "failure.addressAdvice": "이 페이지 주소에 적힌 방과 릴레이를 확인한 뒤 새로 고치세요. 또는",
  "failure.plain": "방과 릴레이 없이 페이지 열기",

  "clock.slow": (v) => `이 컴퓨터의 시계가 ${v.by} 느립니다.`,
  "clock.fast": (v) => `이 컴퓨터의 시계가 ${v.by} 빠릅니다.`,

  "withheld.insecure": (v) =>
    `이 페이지는 다른 컴퓨터에서 암호화되지 않은 http로 열렸기 때문에 브라우저가 다음 기능을 막습니다: ${v.features}. 기록과 동기화는 그대로 됩니다.`,
  "withheld.secure": (v) => `이 브라우저에는 다음 기능이 없습니다: ${v.features}. 기록과 동기화는 그대로 됩니다.`,
  "feature.clipboard": "버튼으로 방 링크 복사하기",
};
