//! Decoding of incoming messages: which bytes are accepted and which are rejected.

use heartchain_chain::{
    content::ReadingForm,
    hash::{BlockHash, ReadingId},
    key::Author,
    profile::{Profile, ProfileName},
    time::UnixMillis,
    work::Work,
};
use heartchain_sync::message::{
    GossipError, GossipItem, MAX_BODIES, MAX_HEADERS, MAX_IDS, MAX_LISTED_PROFILES, MAX_READINGS,
    MAX_REQUEST_LEN, MAX_RESPONSE_LEN, MempoolRow, MessageError, Request, Response, StatusMessage,
    Topic,
};
use heartchain_test_support::{Branch, key, reading, room};
use proptest::prelude::*;

fn status() -> StatusMessage {
    StatusMessage {
        tip: BlockHash::new([1; 32]),
        index: 2,
        total_work: Work::from_le_bytes([3; 32]),
        now: UnixMillis::new(4),
        binding: None,
    }
}

fn profile(name: &str) -> Profile {
    let name = ProfileName::new(name).expect("a name");
    let signed = room().sign_profile(&key(1), UnixMillis::new(9), &name);
    signed.expect("an open room")
}

fn requests() -> Vec<Request> {
    vec![
        Request::Status(status()),
        Request::Headers {
            locator: vec![BlockHash::new([5; 32]); heartchain_chain::tree::MAX_LOCATOR],
        },
        Request::Bodies {
            hashes: vec![BlockHash::new([6; 32]); MAX_BODIES],
        },
        Request::MempoolIds { after: None },
        Request::MempoolIds {
            after: Some((Author::new([7; 32]), 8)),
        },
        Request::Readings {
            ids: vec![ReadingId::new([9; 32]); MAX_READINGS],
        },
        Request::Profiles { after: None },
        Request::Profiles {
            after: Some(Author::new([7; 32])),
        },
    ]
}

fn responses() -> Vec<Response> {
    let header = Branch::of(1, 1).blocks[0].header;
    let row = MempoolRow {
        author: Author::new([1; 32]),
        seq: 2,
        id: ReadingId::new([3; 32]),
    };
    vec![
        Response::Status(status()),
        Response::Headers(vec![header; MAX_HEADERS]),
        Response::Bodies(vec![None; MAX_BODIES]),
        Response::Bodies(vec![Some(vec![reading(1, 0); 1_024])]),
        Response::MempoolIds(vec![row; MAX_IDS]),
        Response::Readings(vec![reading(1, 0); MAX_READINGS]),
        Response::Profiles(vec![profile(&"x".repeat(40)); MAX_LISTED_PROFILES]),
        Response::Profiles(vec![profile(""), profile("Ada"), profile("")]),
    ]
}

#[test]
fn largest_messages_round_trip() {
    for request in requests() {
        let bytes = request.encode();
        assert!(bytes.len() <= MAX_REQUEST_LEN);
        assert_eq!(request.encoded_len(), bytes.len());
        assert_eq!(Request::decode(ReadingForm::Open, &bytes), Ok(request));
    }
    for response in responses() {
        let bytes = response.encode();
        assert!(bytes.len() <= MAX_RESPONSE_LEN);
        assert_eq!(response.encoded_len(), bytes.len());
        assert_eq!(Response::decode(ReadingForm::Open, &bytes), Ok(response));
    }
}

#[test]
fn gossip_items_decode_on_their_topic_only() {
    let block = Branch::of(1, 1).blocks[0].clone();
    let items = [
        (Topic::Readings, GossipItem::Reading(reading(1, 0))),
        (Topic::Blocks, GossipItem::Block(Box::new(block))),
        (Topic::Profiles, GossipItem::Profile(profile("Ada"))),
    ];
    for (topic, item) in items {
        let bytes = item.encode();
        assert_eq!((item.topic(), item.encoded_len()), (topic, bytes.len()));
        assert_eq!(
            GossipItem::decode(topic, ReadingForm::Open, &bytes),
            Ok(item)
        );
        match topic {
            Topic::Readings => assert!(matches!(
                GossipItem::decode(Topic::Blocks, ReadingForm::Open, &bytes),
                Err(GossipError::Block(_))
            )),
            Topic::Blocks => assert!(matches!(
                GossipItem::decode(Topic::Readings, ReadingForm::Open, &bytes),
                Err(GossipError::Reading(_))
            )),
            Topic::Profiles => assert!(matches!(
                GossipItem::decode(Topic::Readings, ReadingForm::Open, &bytes),
                Err(GossipError::Reading(_))
            )),
        }
    }
}

#[test]
fn messages_over_the_limit_are_rejected() {
    let over = |found, limit| Err(MessageError::TooMany { found, limit });
    let request = Request::Headers {
        locator: vec![BlockHash::new([0; 32]); 65],
    };
    assert_eq!(
        Request::decode(ReadingForm::Open, &request.encode()),
        over(65, 64)
    );
    let request = Request::Bodies {
        hashes: vec![BlockHash::new([0; 32]); 513],
    };
    assert_eq!(
        Request::decode(ReadingForm::Open, &request.encode()),
        over(513, 512)
    );
    let request = Request::Readings {
        ids: vec![ReadingId::new([0; 32]); 2_049],
    };
    let too_long = MessageError::TooLong {
        found: 5 + 2_049 * 32,
        limit: MAX_REQUEST_LEN,
    };
    assert_eq!(
        Request::decode(ReadingForm::Open, &request.encode()),
        Err(too_long)
    );

    let over = |found, limit| Err(MessageError::TooMany { found, limit });
    let header = Branch::of(1, 1).blocks[0].header;
    let response = Response::Headers(vec![header; 2_001]);
    assert_eq!(
        Response::decode(ReadingForm::Open, &response.encode()),
        over(2_001, 2_000)
    );
    let response = Response::Bodies(vec![None; 513]);
    assert_eq!(
        Response::decode(ReadingForm::Open, &response.encode()),
        over(513, 512)
    );
    let response = Response::Bodies(vec![Some(vec![reading(1, 0); 1_025])]);
    assert_eq!(
        Response::decode(ReadingForm::Open, &response.encode()),
        over(1_025, 1_024)
    );
    let row = MempoolRow {
        author: Author::new([1; 32]),
        seq: 2,
        id: ReadingId::new([3; 32]),
    };
    let response = Response::MempoolIds(vec![row; 8_193]);
    assert_eq!(
        Response::decode(ReadingForm::Open, &response.encode()),
        over(8_193, 8_192)
    );
    let response = Response::Profiles(vec![profile("Ada"); 1_025]);
    assert_eq!(
        Response::decode(ReadingForm::Open, &response.encode()),
        over(1_025, 1_024)
    );
    let response = Response::Readings(vec![reading(1, 0); 2_049]);
    assert_eq!(
        Response::decode(ReadingForm::Open, &response.encode()),
        over(2_049, 2_048)
    );
    let too_long = MessageError::TooLong {
        found: MAX_RESPONSE_LEN + 1,
        limit: MAX_RESPONSE_LEN,
    };
    assert_eq!(
        Response::decode(ReadingForm::Open, &vec![0; MAX_RESPONSE_LEN + 1]),
        Err(too_long)
    );
}

#[test]
fn truncated_or_extended_messages_are_rejected() {
    for bytes in requests().iter().map(Request::encode) {
        for cut in [0, 1, 4, bytes.len() - 1] {
            assert_eq!(
                Request::decode(ReadingForm::Open, &bytes[..cut.min(bytes.len() - 1)]),
                Err(MessageError::Malformed),
                "{cut}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Request::decode(ReadingForm::Open, &longer).is_err());
    }
    for bytes in responses().iter().map(Response::encode) {
        for cut in [0, 1, 4, bytes.len() - 1] {
            assert_eq!(
                Response::decode(ReadingForm::Open, &bytes[..cut.min(bytes.len() - 1)]),
                Err(MessageError::Malformed),
                "{cut}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Response::decode(ReadingForm::Open, &longer).is_err());
    }
}

#[test]
fn claimed_length_allocates_nothing() {
    for kind in 0..8_u8 {
        let bytes = [kind, 0xff, 0xff, 0xff, 0xff];
        assert!(Request::decode(ReadingForm::Open, &bytes).is_err());
        assert!(Response::decode(ReadingForm::Open, &bytes).is_err());
    }
}

proptest! {
    #[test]
    fn decoding_is_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(request) = Request::decode(ReadingForm::Open, &bytes) {
            prop_assert_eq!(request.encode(), bytes.clone());
        }
        if let Ok(response) = Response::decode(ReadingForm::Open, &bytes) {
            prop_assert_eq!(response.encode(), bytes);
        }
    }
}
