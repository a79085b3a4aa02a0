//! Requests byte for byte, and how invalid or oversize responses are handled.

use super::*;

fn registration(record: usize) -> Register {
    Register {
        namespace: Some("room".to_owned()),
        signed_peer_record: Some(vec![7; record]),
        ttl: Some(60),
    }
}

fn discovered(registrations: Vec<Register>, cookie: Vec<u8>) -> Vec<u8> {
    Message::from(wire::DiscoverResponse {
        registrations,
        cookie: Some(cookie),
        status: Some(wire::Status::Ok.into()),
    })
    .encode_to_vec()
}

fn found(bytes: &[u8]) -> (Vec<Registration>, Option<Cookie>) {
    match Answer::decode(bytes) {
        Ok(Answer::Discovered { found, cookie }) => (found, cookie),
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_encode_as_specified() {
    let register = Question::Register {
        namespace: "r".to_owned(),
        record: vec![9],
        ttl: Duration::from_secs(120),
    };
    assert_eq!(
        register.encode(),
        [8, 0, 0x12, 8, 0x0A, 1, b'r', 0x12, 1, 9, 0x18, 120]
    );
    let discover = Question::Discover {
        namespace: "r".to_owned(),
        limit: 5,
        cookie: Some(Cookie(vec![1, 2])),
    };
    assert_eq!(
        discover.encode(),
        [8, 3, 0x2A, 9, 0x0A, 1, b'r', 0x10, 5, 0x1A, 2, 1, 2]
    );
}

#[test]
fn responses_decode_as_specified() {
    assert_eq!(
        Answer::decode(&[8, 1, 0x1A, 4, 8, 0, 0x18, 120]),
        Ok(Answer::Registered(Duration::from_secs(120)))
    );
    assert_eq!(
        Answer::decode(&[8, 1, 0x1A, 3, 8, 0xC8, 1]),
        Ok(Answer::NotRegistered(Status(200)))
    );
    assert_eq!(
        Answer::decode(&[8, 4, 0x32, 2, 0x18, 103]),
        Ok(Answer::NotDiscovered(Status(103)))
    );
    let (registrations, cookie) = found(&discovered(vec![registration(3)], vec![4, 5]));
    assert_eq!(
        registrations,
        [Registration {
            namespace: "room".to_owned(),
            record: vec![7; 3],
            ttl: Duration::from_secs(60),
        }]
    );
    assert_eq!(cookie, Some(Cookie(vec![4, 5])));
}

#[test]
fn invalid_response_is_refused_without_a_panic() {
    // A request in place of a response makes the client of libp2p-rendezvous panic.
    for kind in [0, 2, 3] {
        let byte = u8::try_from(kind).expect("a small number");
        assert_eq!(
            Answer::decode(&[8, byte]),
            Err(ResponseError::NotAResponse(kind))
        );
    }
    assert_eq!(Answer::decode(&[]), Err(ResponseError::NotAResponse(0)));
    assert_eq!(Answer::decode(&[8, 9]), Err(ResponseError::NotAResponse(9)));
    assert_eq!(Answer::decode(&[8, 1]), Err(ResponseError::Empty(1)));
    assert_eq!(Answer::decode(&[8, 4]), Err(ResponseError::Empty(4)));
    for garbage in [
        &[0xFF; 12][..],
        &[8],
        &[0x32, 9, 1],
        &[8, 4, 0x32, 2, 0x0A, 5],
    ] {
        assert!(
            matches!(Answer::decode(garbage), Err(ResponseError::Malformed(_))),
            "{garbage:?}"
        );
    }
}

#[test]
fn response_over_the_limit_is_refused() {
    // The unknown field 15 pads the response to the limit.
    let mut bytes = vec![8, 1, 0x1A, 2, 8, 0, 0x7A];
    let rest = MAX_MESSAGE_LEN - bytes.len() - 3;
    prost::encoding::encode_varint(rest as u64, &mut bytes);
    bytes.resize(MAX_MESSAGE_LEN, 0);
    assert_eq!(
        Answer::decode(&bytes),
        Ok(Answer::Registered(Duration::ZERO))
    );
    bytes.push(0);
    let found = MAX_MESSAGE_LEN + 1;
    assert_eq!(
        Answer::decode(&bytes),
        Err(ResponseError::TooLong { found })
    );
}

#[test]
fn registrations_are_cut_to_the_limit() {
    for (given, accepted) in [
        (MAX_REGISTRATIONS, MAX_REGISTRATIONS),
        (MAX_REGISTRATIONS + 1, MAX_REGISTRATIONS),
    ] {
        let (registrations, _) = found(&discovered(vec![registration(1); given], Vec::new()));
        assert_eq!(registrations.len(), accepted);
    }
}

#[test]
fn oversize_records_and_cookies_are_dropped() {
    let longest = Register {
        ttl: Some(u64::MAX),
        ..registration(MAX_RECORD_LEN)
    };
    let no_namespace = Register {
        namespace: None,
        ..registration(1)
    };
    let no_record = Register {
        signed_peer_record: None,
        ..registration(1)
    };
    let all = vec![
        longest,
        registration(MAX_RECORD_LEN + 1),
        no_namespace,
        no_record,
    ];
    let (registrations, cookie) = found(&discovered(all, vec![0; MAX_COOKIE_LEN]));
    assert_eq!(registrations.len(), 1);
    assert_eq!(registrations[0].ttl, MAX_TTL);
    assert_eq!(cookie, Some(Cookie(vec![0; MAX_COOKIE_LEN])));
    let (_, cookie) = found(&discovered(Vec::new(), vec![0; MAX_COOKIE_LEN + 1]));
    assert_eq!(cookie, None);
}

#[test]
fn corrupt_response_never_panics() {
    let whole = discovered(vec![registration(40); 3], vec![1; 20]);
    // Replaces each byte of a valid response with every value, and cuts the response at each position.
    for index in 0..whole.len() {
        for byte in 0..=u8::MAX {
            let mut changed = whole.clone();
            changed[index] = byte;
            let _ = Answer::decode(&changed);
        }
        let _ = Answer::decode(&whole[..index]);
    }
}
