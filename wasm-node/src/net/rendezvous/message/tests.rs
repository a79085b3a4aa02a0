//! What a client says, byte for byte, and what it makes of answers that nobody honest gives.

use super::*;

fn registration(record: usize) -> wire::Register {
    wire::Register {
        namespace: Some("room".to_owned()),
        record: Some(vec![7; record]),
        ttl: Some(60),
    }
}

fn discovered(registrations: Vec<wire::Register>, cookie: Vec<u8>) -> Vec<u8> {
    wire::Message {
        kind: Some(DISCOVERED),
        discovered: Some(wire::Discovered {
            registrations,
            cookie: Some(cookie),
            status: Some(OK),
        }),
        ..wire::Message::default()
    }
    .encode_to_vec()
}

fn found(bytes: &[u8]) -> (Vec<Registration>, Option<Cookie>) {
    match Answer::decode(bytes) {
        Ok(Answer::Discovered { found, cookie }) => (found, cookie),
        other => panic!("{other:?}"),
    }
}

#[test]
fn questions_are_the_specs_bytes() {
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
fn answers_are_read_as_the_spec_has_them() {
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
fn what_is_no_answer_is_refused_without_a_panic() {
    // A question in place of an answer ends the stock client's process.
    for kind in [REGISTER, 2, DISCOVER] {
        let byte = u8::try_from(kind).expect("a small number");
        assert_eq!(Answer::decode(&[8, byte]), Err(AnswerError::NoAnswer(kind)));
    }
    assert_eq!(Answer::decode(&[]), Err(AnswerError::NoAnswer(REGISTER)));
    assert_eq!(Answer::decode(&[8, 9]), Err(AnswerError::NoAnswer(9)));
    assert_eq!(Answer::decode(&[8, 1]), Err(AnswerError::Empty(REGISTERED)));
    assert_eq!(Answer::decode(&[8, 4]), Err(AnswerError::Empty(DISCOVERED)));
    for garbage in [
        &[0xFF; 12][..],
        &[8],
        &[0x32, 9, 1],
        &[8, 4, 0x32, 2, 0x0A, 5],
    ] {
        assert!(
            matches!(Answer::decode(garbage), Err(AnswerError::Malformed(_))),
            "{garbage:?}"
        );
    }
}

#[test]
fn an_answer_at_the_limit_is_read_and_one_beyond_is_not() {
    // Field 15, which nobody knows, fills it up.
    let mut bytes = vec![8, 1, 0x1A, 2, 8, 0, 0x7A];
    let rest = MAX_ANSWER_LEN - bytes.len() - 3;
    prost::encoding::encode_varint(rest as u64, &mut bytes);
    bytes.resize(MAX_ANSWER_LEN, 0);
    assert_eq!(
        Answer::decode(&bytes),
        Ok(Answer::Registered(Duration::ZERO))
    );
    bytes.push(0);
    let found = MAX_ANSWER_LEN + 1;
    assert_eq!(Answer::decode(&bytes), Err(AnswerError::TooLong { found }));
}

#[test]
fn no_more_registrations_are_taken_than_allowed() {
    for (given, taken) in [
        (MAX_REGISTRATIONS, MAX_REGISTRATIONS),
        (MAX_REGISTRATIONS + 1, MAX_REGISTRATIONS),
    ] {
        let (registrations, _) = found(&discovered(vec![registration(1); given], Vec::new()));
        assert_eq!(registrations.len(), taken);
    }
}

#[test]
fn records_cookies_and_times_beyond_their_limits_are_not_kept() {
    let eternal = wire::Register {
        ttl: Some(u64::MAX),
        ..registration(MAX_RECORD_LEN)
    };
    let nameless = wire::Register {
        namespace: None,
        ..registration(1)
    };
    let empty = wire::Register {
        record: None,
        ..registration(1)
    };
    let all = vec![eternal, registration(MAX_RECORD_LEN + 1), nameless, empty];
    let (registrations, cookie) = found(&discovered(all, vec![0; MAX_COOKIE_LEN]));
    assert_eq!(registrations.len(), 1);
    assert_eq!(registrations[0].ttl, MAX_TTL);
    assert_eq!(cookie, Some(Cookie(vec![0; MAX_COOKIE_LEN])));
    let (_, cookie) = found(&discovered(Vec::new(), vec![0; MAX_COOKIE_LEN + 1]));
    assert_eq!(cookie, None);
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let whole = discovered(vec![registration(40); 3], vec![1; 20]);
    // Each byte of a good answer in turn is each other byte, and the answer ends at each place.
    for place in 0..whole.len() {
        for byte in 0..=u8::MAX {
            let mut changed = whole.clone();
            changed[place] = byte;
            let _ = Answer::decode(&changed);
        }
        let _ = Answer::decode(&whole[..place]);
    }
}
