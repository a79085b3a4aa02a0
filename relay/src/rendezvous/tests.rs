use libp2p::{Multiaddr, identity::Keypair};

use super::{
    wire::{MAX_QUESTION_LEN, Unregister},
    *,
};

const ROOM: &str = "room";
const TTL: Duration = Duration::from_secs(60);

struct Asker {
    key: Keypair,
    server: Rendezvous,
    now: Instant,
}

impl Asker {
    fn new() -> Self {
        Self {
            key: Keypair::generate_ed25519(),
            server: Rendezvous::new(&Limits::default()),
            now: Instant::now(),
        }
    }

    fn peer(&self) -> PeerId {
        self.key.public().to_peer_id()
    }

    /// What a peer signs of itself with so many addresses.
    fn record(&self, addresses: usize) -> Vec<u8> {
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/1/ws".parse().expect("an address");
        PeerRecord::new(&self.key, vec![address; addresses])
            .expect("signs")
            .into_signed_envelope()
            .into_protobuf_encoding()
    }

    fn ask(&mut self, kind: Kind, fill: impl FnOnce(&mut Message)) -> Option<Message> {
        let mut question = Message {
            r#type: Some(kind.into()),
            ..Message::default()
        };
        fill(&mut question);
        self.server
            .answer(self.peer(), question, self.now)
            .expect("seldom enough")
    }

    fn register(&mut self, namespace: &str, record: Vec<u8>, ttl: Option<u64>) -> Status {
        let answer = self.ask(Kind::Register, |question| {
            question.register = Some(Register {
                namespace: Some(namespace.to_owned()),
                signed_peer_record: Some(record),
                ttl,
            });
        });
        let response = answer.and_then(|answer| answer.register_response);
        response.expect("an answer").status()
    }

    fn discover(&mut self, namespace: Option<&str>, cookie: Option<Vec<u8>>) -> DiscoverResponse {
        let answer = self.ask(Kind::Discover, |question| {
            question.discover = Some(Discover {
                namespace: namespace.map(str::to_owned),
                limit: None,
                cookie,
            });
        });
        let response = answer.and_then(|answer| answer.discover_response);
        response.expect("an answer")
    }
}

#[test]
fn a_peer_is_named_as_it_signed_until_it_unregisters_or_leaves() {
    let mut asker = Asker::new();
    let record = asker.record(2);
    let ttl = Some(TTL.as_secs());
    assert_eq!(asker.register(ROOM, record.clone(), ttl), Status::Ok);
    let listed = Register {
        namespace: Some(ROOM.to_owned()),
        signed_peer_record: Some(record.clone()),
        ttl,
    };
    assert_eq!(asker.discover(Some(ROOM), None).registrations, [listed]);

    let unregister = asker.ask(Kind::Unregister, |question| {
        let namespace = Some(ROOM.to_owned());
        question.unregister = Some(Unregister { namespace });
    });
    assert_eq!(unregister, None);
    assert_eq!(asker.discover(Some(ROOM), None).registrations, []);

    assert_eq!(asker.register(ROOM, record, ttl), Status::Ok);
    let peer = asker.peer();
    asker.server.forget(&peer);
    assert_eq!(asker.discover(Some(ROOM), None).registrations, []);
}

#[test]
fn records_are_of_whoever_sends_them_and_short() {
    let mut asker = Asker::new();
    let ttl = Some(TTL.as_secs());
    let mut forged = asker.record(1);
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    let of_another = Asker::new().record(1);
    let most = Limits::default().registration_bytes;
    let addresses = (1..)
        .find(|n| asker.record(*n).len() > most)
        .expect("grows");
    for (record, status) in [
        (forged, Status::InvalidSignedPeerRecord),
        (Vec::new(), Status::InvalidSignedPeerRecord),
        (of_another, Status::NotAuthorized),
        (asker.record(addresses), Status::InvalidSignedPeerRecord),
        (asker.record(addresses - 1), Status::Ok),
    ] {
        assert_eq!(asker.register(ROOM, record, ttl), status);
    }
}

#[test]
fn records_in_the_domain_that_the_spec_names_are_taken() {
    let mut asker = Asker::new();
    let record = PeerRecord::new_interop(&asker.key, Vec::new())
        .expect("signs")
        .into_signed_envelope()
        .into_protobuf_encoding();
    let ttl = Some(TTL.as_secs());
    assert_eq!(asker.register(ROOM, record, ttl), Status::Ok);
}

#[test]
fn a_question_with_the_greatest_record_and_name_can_be_read() {
    let limits = Limits::default();
    assert!(MAX_QUESTION_LEN > limits.registration_bytes + MAX_NAMESPACE_LEN + 64);
}

#[test]
fn times_to_live_are_within_the_limits() {
    let mut asker = Asker::new();
    let limits = Limits::default();
    let (min, max) = (limits.registration_min_ttl, limits.registration_max_ttl);
    for (ttl, status) in [
        (Some(min.as_secs() - 1), Status::InvalidTtl),
        (Some(min.as_secs()), Status::Ok),
        (Some(max.as_secs()), Status::Ok),
        (Some(max.as_secs() + 1), Status::Ok),
        (Some(u64::MAX), Status::Ok),
        (None, Status::Ok),
    ] {
        let record = asker.record(1);
        assert_eq!(asker.register(ROOM, record, ttl), status, "{ttl:?}");
        let registered = asker.discover(Some(ROOM), None).registrations;
        let left = registered.first().and_then(|registered| registered.ttl);
        assert!(left <= Some(max.as_secs()), "{left:?} s of {ttl:?}");
    }
}

#[test]
fn names_of_rooms_have_a_length_and_whoever_names_none_learns_none() {
    let mut asker = Asker::new();
    let longest = "n".repeat(MAX_NAMESPACE_LEN);
    let too_long = "n".repeat(MAX_NAMESPACE_LEN + 1);
    for (name, status) in [
        (longest.as_str(), Status::Ok),
        (&too_long, Status::InvalidNamespace),
        ("", Status::InvalidNamespace),
    ] {
        let record = asker.record(1);
        let ttl = Some(TTL.as_secs());
        assert_eq!(asker.register(name, record, ttl), status);
        assert_eq!(asker.discover(Some(name), None).status(), status);
    }
    let all = asker.discover(None, None);
    assert_eq!(all.status(), Status::InvalidNamespace);
    assert_eq!(all.registrations, []);
}

#[test]
fn cookies_belong_to_a_room() {
    let mut asker = Asker::new();
    let cookie = asker.discover(Some(ROOM), None).cookie;
    let again = asker.discover(Some(ROOM), cookie.clone());
    assert_eq!(again.status(), Status::Ok);
    let elsewhere = asker.discover(Some("elsewhere"), cookie);
    assert_eq!(elsewhere.status(), Status::InvalidCookie);
}

#[test]
fn what_is_no_question_gets_no_answer_and_an_empty_one_a_refusal() {
    let mut asker = Asker::new();
    for kind in [Kind::RegisterResponse, Kind::DiscoverResponse] {
        assert_eq!(asker.ask(kind, |_| ()), None);
    }
    let unknown = asker.ask(Kind::Register, |question| question.r#type = Some(5));
    assert_eq!(unknown, None);
    assert_eq!(asker.ask(Kind::Unregister, |_| ()), None);
    let empty = asker.ask(Kind::Register, |question| question.r#type = None);
    let response = empty.and_then(|answer| answer.register_response);
    assert_eq!(
        response.map(|response| response.status()),
        Some(Status::InvalidNamespace)
    );
}
