//! Fuzz targets of WebRTC-direct: STUN messages, the table of a listener's socket, and DTLS and SCTP from datagrams up.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libp2p_webrtc_direct::stack::{MessageKind, Stack, StackEvent};
use libp2p_webrtc_direct::stun::{
    BindingRequest, BindingSuccess, binding_request, binding_success,
};
use libp2p_webrtc_direct::table::{Action, Table};
use libp2p_webrtc_direct::{Certificate, Limits, Username};

/// Steps of one run, so that a run ends soon.
const MAX_STEPS: usize = 256;
/// Positions in datagrams of DTLS: of the type of a message, of the random bytes of a ClientHello, and of the cookie in a
/// HelloVerifyRequest.
const MESSAGE_TYPE_AT: usize = 13;
const RANDOM_AT: usize = 27;
const COOKIE_AT: usize = 28;
/// Messages that one side of a connection writes in one run.
const MAX_WRITES: usize = 32;

/// STUN: no datagram leads to a panic, an accepted request is answered with a message that its sender accepts, and the
/// answer to a name of WebRTC-direct is no longer than the request.
pub fn stun(data: &[u8]) {
    let from: SocketAddr = ([192, 0, 2, 1], 3478).into();
    if let Ok(answer) = BindingSuccess::parse(data) {
        let _ = answer.is_from("password");
    }
    let Ok(request) = BindingRequest::parse(data) else {
        return;
    };
    let Ok(username) = Username::parse(request.username) else {
        return;
    };
    if request.is_from(username.server) {
        let answer = binding_success(request.transaction, from, username.server);
        assert!(answer.len() <= data.len());
        let parsed = BindingSuccess::parse(&answer).expect("it is well-formed");
        assert_eq!(parsed.transaction, request.transaction);
        assert!(parsed.is_from(username.server));
    }
}

/// The table of a listener's socket, under any sequence of datagrams from few addresses: its limits hold, and it is empty
/// after all connections and addresses are gone.
pub fn socket(data: &[u8]) {
    let mut limits = Limits::default();
    limits.addresses = 3;
    (limits.connections, limits.connections_per_network) = (4, 2);
    let mut now = Instant::now();
    let mut table = Table::new(now, &limits);
    let mut opened = Vec::new();
    // The cookie of the last answer.
    let mut cookie = Vec::new();
    let mut input = data.iter().copied();
    for _ in 0..MAX_STEPS {
        let (Some(step), Some(choice)) = (input.next(), input.next()) else {
            break;
        };
        let from = SocketAddr::from(([10, 0, choice % 2, choice % 3], 1));
        let number = choice / 16;
        match step % 8 {
            0 | 1 => {
                let name = format!("libp2p+webrtc+v1/{number:08}");
                let request = binding_request([number; 12], &format!("{name}:{name}"), &name, 1);
                assert!(matches!(
                    table.handle(now, from, &request),
                    Action::Answer(_)
                ));
            }
            2 | 3 => {
                let echoed: &[u8] = if step < 128 { &cookie } else { &[] };
                match table.handle(now, from, &hello(number % 2, echoed)) {
                    Action::Open(opening) => {
                        assert_eq!(echoed, opening.cookie);
                        if table.insert(now, &opening, opening.id).is_ok() {
                            opened.push((from, opening.id));
                        }
                    }
                    Action::Challenge(answer) => {
                        cookie = answer.get(COOKIE_AT..).unwrap_or_default().to_vec();
                    }
                    Action::Ignore | Action::Answer(_) | Action::Forward(_) => {}
                }
            }
            4 | 5 => {
                if let Some((from, id)) = pick(&opened, number) {
                    table.remove(from, id);
                    assert!(table.last_stun(from, id).is_none());
                }
            }
            6 => {
                let raw: Vec<u8> = input.by_ref().take(usize::from(number) * 4).collect();
                let _ = table.handle(now, from, &raw);
            }
            _ => {
                now += Duration::from_secs(u64::from(number));
                table.expire(now);
            }
        }
        assert!(table.addresses() <= limits.addresses);
        assert!(table.connections() <= limits.connections);
    }
    for (from, id) in opened {
        table.remove(from, id);
    }
    table.expire(now + limits.address_lifetime);
    assert_eq!((table.addresses(), table.connections()), (0, 0));
}

/// The beginning of a ClientHello with this cookie.
fn hello(random: u8, cookie: &[u8]) -> Vec<u8> {
    let mut hello = vec![0; RANDOM_AT];
    (hello[0], hello[MESSAGE_TYPE_AT]) = (22, 1);
    hello.extend([random; 32]);
    hello.push(0);
    hello.push(u8::try_from(cookie.len()).expect("a cookie is short"));
    hello.extend(cookie);
    hello
}

fn pick<T: Copy>(items: &[T], number: u8) -> Option<T> {
    items.get(usize::from(number) % items.len().max(1)).copied()
}

/// DTLS and SCTP. The first half of the input goes to a new connection of a server as raw datagrams. The other half decides what a network
/// does to the datagrams of two connected ends that write to each other: no damage leads to a panic or to other bytes.
pub fn stack(data: &[u8]) {
    let now = Instant::now();
    let (raw, damage) = data.split_at(data.len() / 2);
    let cookie = [7; 32];
    let mut server = Stack::accept(certificate(), cookie, now).expect("valid settings");
    for datagram in raw.chunks(97).take(MAX_STEPS) {
        if server.handle_datagram(now, datagram).is_err() || server.flush(now).is_err() {
            break;
        }
        assert!(server.next_event().is_none(), "nothing is connected");
        while server.next_datagram().is_some() {}
    }

    let mut pair = Pair {
        ends: [
            Stack::dial(certificate(), now).expect("valid settings"),
            Stack::accept(certificate(), cookie, now).expect("valid settings"),
        ],
        now,
    };
    pair.give_cookie(&cookie);
    pair.deliver(&mut std::iter::empty());
    for end in &mut pair.ends {
        let events: Vec<_> = std::iter::from_fn(|| end.next_event()).collect();
        let is_connected = |event: &StackEvent| matches!(event, StackEvent::Connected(_));
        assert!(events.iter().any(is_connected), "{events:?}");
    }
    let mut damage = damage.iter().copied();
    for number in 0..MAX_WRITES {
        let (Some(choice), Some(length)) = (damage.next(), damage.next()) else {
            break;
        };
        let channel = u16::from(choice % 4);
        let kind = match choice / 4 % 3 {
            0 => MessageKind::Control,
            1 => MessageKind::Text,
            _ => MessageKind::Binary,
        };
        let message = vec![length; usize::from(length) * 16 + 1];
        if let Some(end) = pair.ends.get_mut(number % 2) {
            if choice >= 250 {
                end.reset(channel);
            } else if end.open(channel) {
                end.write(channel, kind, &message);
            }
        }
        if !pair.deliver(&mut damage) {
            return;
        }
        for end in &mut pair.ends {
            while end.next_event().is_some() {}
            for channel in 0..4 {
                while let Some(message) = end.read(channel) {
                    let first = message.data.first().copied().unwrap_or_default();
                    assert!(message.data.iter().all(|byte| *byte == first));
                    assert_eq!(message.data.len(), usize::from(first) * 16 + 1);
                }
            }
        }
    }
}

struct Pair {
    ends: [Stack; 2],
    now: Instant,
}

impl Pair {
    /// Answers the client's first ClientHello as the table of a listener does.
    fn give_cookie(&mut self, cookie: &[u8; 32]) {
        let [client, _] = &mut self.ends;
        assert!(client.next_datagram().is_some(), "a ClientHello");
        let mut answer = vec![22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 47];
        answer.extend([3, 0, 0, 35, 0, 0, 0, 0, 0, 0, 0, 35, 254, 255, 32]);
        answer.extend(cookie);
        let handled = client.handle_datagram(self.now, &answer);
        handled.expect("the answer is valid");
    }

    /// Delivers datagrams until both ends are silent. One byte of `damage` decides about each. Returns false if an end
    /// has ended.
    fn deliver(&mut self, damage: &mut impl Iterator<Item = u8>) -> bool {
        for _ in 0..MAX_STEPS {
            let mut is_silent = true;
            for from in 0..2 {
                let [first, second] = &mut self.ends;
                let (from, to) = if from == 0 {
                    (first, second)
                } else {
                    (second, first)
                };
                if from.handle_timeout(self.now).is_err() || from.flush(self.now).is_err() {
                    return false;
                }
                while let Some(mut datagram) = from.next_datagram() {
                    is_silent = false;
                    let choice = damage.next().unwrap_or(255);
                    let times = match choice {
                        0..32 => 0,
                        32..64 => 2,
                        64..96 => {
                            if let Some(byte) = datagram.get_mut(usize::from(choice)) {
                                *byte ^= 1;
                            }
                            1
                        }
                        _ => 1,
                    };
                    for _ in 0..times {
                        if to.handle_datagram(self.now, &datagram).is_err() {
                            return false;
                        }
                    }
                }
            }
            if is_silent {
                return true;
            }
            self.now += Duration::from_millis(100);
        }
        true
    }
}

/// Making a certificate takes longer than a run.
fn certificate() -> &'static Certificate {
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    CERTIFICATE.get_or_init(|| Certificate::generate().expect("a certificate"))
}
