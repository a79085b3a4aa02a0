//! Import of export files: blocks are imported under the validation and fork-choice rules, and an import stops at the
//! first invalid block.

use heartchain_chain::{
    block::{Block, BodyError},
    reading::{Reading, ReadingError},
    tree::{InsertError, MAX_SIDE_DEPTH},
    validate::HeaderError,
};
use heartchain_sync::{
    Event, Input,
    config::{MAX_IMPORT_BLOCKS, MAX_IMPORT_READINGS, MAX_PENDING_IMPORTS},
    io::{ImportError, ImportPiece, Imported, Ticket},
};
use heartchain_test_support::{Branch, Driver as _, START, Tampering as _, reading, solve};

use crate::subject::{Subject, is_status};

/// Imports a file in pieces of `piece` blocks, then its pending readings. Returns the sum of all results.
fn import_by(
    subject: &mut Subject,
    piece: usize,
    blocks: &[Block],
    readings: &[Reading],
) -> Result<Imported, ImportError> {
    let mut sum = Imported::default();
    let pieces = blocks.chunks(piece).map(|blocks| ImportPiece {
        blocks: blocks.to_vec(),
        ..ImportPiece::default()
    });
    let last = ImportPiece {
        readings: readings.to_vec(),
        is_last: true,
        ..ImportPiece::default()
    };
    for piece in pieces.chain([last]) {
        let imported = feed_piece(subject, piece).expect("an answer at once")?;
        sum.blocks += imported.blocks;
        sum.new_blocks += imported.new_blocks;
        sum.readings += imported.readings;
        sum.new_readings += imported.new_readings;
    }
    Ok(sum)
}

fn import(
    subject: &mut Subject,
    blocks: &[Block],
    readings: &[Reading],
) -> Result<Imported, ImportError> {
    import_by(subject, MAX_IMPORT_BLOCKS, blocks, readings)
}

/// Feeds one piece. Returns the result if there is one already.
fn feed_piece(subject: &mut Subject, piece: ImportPiece) -> Option<Result<Imported, ImportError>> {
    let ticket = Ticket(77);
    subject.events.clear();
    subject.feed(Input::Import { ticket, piece });
    answers(subject).pop()
}

fn answers(subject: &Subject) -> Vec<Result<Imported, ImportError>> {
    let of = |event: &Event| {
        let Event::Imported { ticket, result } = event else {
            return None;
        };
        assert_eq!(*ticket, Ticket(77));
        Some(result.clone())
    };
    subject.events.iter().filter_map(of).collect()
}

fn waiting(subject: &Subject) -> Vec<Reading> {
    subject.machine.pending().copied().collect()
}

fn counts(blocks: usize, new_blocks: usize, readings: usize, new_readings: usize) -> Imported {
    Imported {
        blocks,
        new_blocks,
        readings,
        new_readings,
    }
}

/// A subject whose best branch this is.
fn subject_with(branch: &Branch) -> Subject {
    let mut subject = Subject::new();
    import(&mut subject, &branch.blocks, &[]).expect("an honest branch");
    assert_eq!(subject.tip(), branch.tip());
    subject
}

#[test]
fn imported_better_branch_wins_and_loses_no_readings() {
    let ours = Branch::of(1, 3);
    let theirs = Branch::of(2, 10);
    let mut subject = subject_with(&ours);
    subject.connect(7);
    subject.serve(7, &ours);
    let imported = import_by(&mut subject, 4, &theirs.blocks, &[]);
    assert_eq!(imported, Ok(counts(10, 10, 10, 10)));
    assert_eq!(subject.tip(), theirs.tip());
    assert_eq!(
        waiting(&subject),
        [reading(1, 0), reading(1, 1), reading(1, 2)]
    );
    assert!(
        theirs.blocks.iter().all(|block| subject
            .state
            .disk
            .blocks
            .contains_key(&block.header.hash()))
    );
    subject.advance(1_000);
    assert!(
        subject.open_request(7, is_status).is_some(),
        "the new tip is announced to peers"
    );
    assert!(subject.disconnections.is_empty());

    assert_eq!(
        import(&mut subject, &theirs.blocks, &[]),
        Ok(counts(10, 0, 10, 0))
    );
    assert_eq!(
        import(&mut subject, &ours.blocks, &[]),
        Ok(counts(3, 0, 3, 0))
    );
}

#[test]
fn imported_lighter_branch_returns_its_readings() {
    let ours = Branch::of(1, 5);
    let mut theirs = ours.prefix(2);
    theirs.grow(2, 2);
    let mut subject = subject_with(&ours);
    assert_eq!(
        import(&mut subject, &theirs.blocks, &[]),
        Ok(counts(4, 2, 4, 2))
    );
    assert_eq!(subject.tip(), ours.tip());
    assert_eq!(waiting(&subject), [reading(2, 0), reading(2, 1)]);
    assert_eq!(subject.machine.side_branches()[0].tip, theirs.tip());
}

#[test]
fn reading_of_two_branches_is_new_once() {
    let base = Branch::of(1, 1);
    let blocks = [1_000, 2_000].map(|after| {
        let time = base.blocks[0].header.time.get() + after;
        base.mine_next(vec![reading(2, 0), reading(2, 1)], time)
    });
    let mut subject = subject_with(&base);
    let imported = import(&mut subject, &blocks, &[]);
    assert_eq!(imported, Ok(counts(2, 2, 4, 2)));
    let again = import(&mut subject, &blocks, &[]);
    assert_eq!(again, Ok(counts(2, 0, 4, 0)));
}

#[test]
fn long_import_is_not_pruned_before_it_wins() {
    let depth = MAX_SIDE_DEPTH + 100;
    let mut ours = Branch::of(1, depth);
    let theirs = Branch::of(2, depth + 50);
    let mut subject = subject_with(&ours);
    for (at, blocks) in theirs.blocks.chunks(MAX_IMPORT_BLOCKS).enumerate() {
        let piece = ImportPiece {
            blocks: blocks.to_vec(),
            ..ImportPiece::default()
        };
        assert!(feed_piece(&mut subject, piece).expect("an answer").is_ok());
        if at == 0 {
            // Deep side blocks are pruned when the best tip changes.
            ours.grow(1, 1);
            subject.gossip_block(7, ours.blocks.last().expect("one"));
            assert_eq!(subject.tip(), ours.tip());
        }
    }
    let ended = feed_piece(
        &mut subject,
        ImportPiece {
            is_last: true,
            ..ImportPiece::default()
        },
    );
    assert_eq!(ended, Some(Ok(Imported::default())));
    assert_eq!(subject.tip(), theirs.tip());
}

#[test]
fn pruned_deep_import_returns_its_readings() {
    let ours = Branch::of(1, MAX_SIDE_DEPTH + 10);
    let theirs = Branch::of(2, 5);
    let mut subject = subject_with(&ours);
    assert_eq!(
        import(&mut subject, &theirs.blocks, &[]),
        Ok(counts(5, 5, 5, 5))
    );
    assert_eq!(subject.machine.load().side_blocks, 0);
    assert_eq!(waiting(&subject).len(), 5);
}

#[test]
fn import_stops_at_the_first_invalid_block() {
    let honest = Branch::of(1, 6);
    let tampered = |change: &dyn Fn(&mut Block)| {
        let mut blocks = honest.blocks.clone();
        change(&mut blocks[4]);
        let mut subject = Subject::new();
        let error = import(&mut subject, &blocks, &[]).expect_err("the fifth block is invalid");
        assert_eq!(subject.tip(), honest.blocks[3].header.hash(), "{error}");
        let again = import(&mut subject, &honest.blocks, &[]);
        assert_eq!(
            again.map(|imported| imported.blocks),
            Ok(6),
            "the honest file is still imported"
        );
        error
    };
    assert!(matches!(
        tampered(&|block| block.readings[0] = block.readings[0].with_bpm(180)),
        ImportError::Body {
            index: 5,
            source: BodyError::ReadingsRoot { .. }
        }
    ));
    assert!(matches!(
        tampered(&|block| block.header.nonce = block.header.nonce.wrapping_add(1)),
        ImportError::Header {
            index: 5,
            source: InsertError::Header(HeaderError::Work { .. })
        }
    ));
    assert!(matches!(
        tampered(&|block| block.header.index = 9),
        ImportError::Header {
            index: 9,
            source: InsertError::Header(HeaderError::Index { .. })
        }
    ));
    assert!(matches!(
        tampered(&|block| block.header.prev_hash = heartchain_chain::hash::BlockHash::new([9; 32])),
        ImportError::Header {
            index: 5,
            source: InsertError::UnknownParent { .. }
        }
    ));
}

#[test]
fn forged_reading_under_valid_work_is_refused() {
    let mut branch = Branch::of(1, 2);
    let forged = reading(1, 2).with_bpm(180);
    branch.push(vec![forged]);
    let mut subject = Subject::new();
    assert!(matches!(
        import(&mut subject, &branch.blocks, &[]),
        Err(ImportError::Body {
            index: 3,
            source: BodyError::Reading {
                source: ReadingError::Signature { .. },
                ..
            }
        })
    ));
    assert_eq!(subject.machine.status().index, 2);
}

#[test]
fn broken_author_sequence_is_refused() {
    let mut branch = Branch::of(1, 2);
    branch.push(vec![reading(1, 5)]);
    let mut subject = Subject::new();
    let error = import(&mut subject, &branch.blocks, &[]).expect_err("a gap");
    assert!(
        matches!(error, ImportError::Sequence(error) if (error.expected, error.found) == (2, 5))
    );
    assert_eq!(subject.machine.status().index, 2);
}

#[test]
fn block_with_wrong_difficulty_is_refused() {
    let branch = Branch::of(1, 1);
    let mut cheap = branch.mine_next(vec![reading(1, 1)], START - 9_990_000);
    cheap.header.bits = heartchain_chain::work::CompactTarget::from_bits(0x207f_ffff);
    solve(&mut cheap.header);
    let mut subject = Subject::new();
    assert!(matches!(
        import(&mut subject, &[branch.blocks[0].clone(), cheap], &[]),
        Err(ImportError::Header {
            index: 2,
            source: InsertError::Header(HeaderError::Bits { .. })
        })
    ));
}

#[test]
fn imported_pending_readings_are_verified() {
    let mut subject = subject_with(&Branch::of(1, 1));
    let file = [reading(1, 0), reading(1, 1), reading(2, 0)];
    assert_eq!(import(&mut subject, &[], &file), Ok(counts(0, 0, 3, 2)));
    assert_eq!(import(&mut subject, &[], &file), Ok(counts(0, 0, 3, 0)));
    assert_eq!(waiting(&subject).len(), 2);
    let forged = [reading(3, 0), reading(3, 1).with_bpm(180)];
    let error = import(&mut subject, &[], &forged).expect_err("forged");
    assert!(matches!(error, ImportError::Reading(error) if error.position == 1));
    assert_eq!(
        waiting(&subject).len(),
        2,
        "no reading of the rejected piece is kept"
    );
}

#[test]
fn import_piece_is_answered_once_on_disk() {
    let branch = Branch::of(1, 2);
    let piece = |at: usize| ImportPiece {
        blocks: vec![branch.blocks[at].clone()],
        ..ImportPiece::default()
    };
    let mut subject = Subject::new();
    subject.state.disk.held_writes = Some(Vec::new());
    assert_eq!(feed_piece(&mut subject, piece(0)), None);
    let writes = subject
        .state
        .disk
        .held_writes
        .replace(Vec::new())
        .expect("held");
    for (id, _) in writes {
        subject.feed(Input::Written { id });
    }
    assert_eq!(answers(&subject), [Ok(counts(1, 1, 1, 1))]);
    assert_eq!(feed_piece(&mut subject, piece(1)), None);
    let writes = subject
        .state
        .disk
        .held_writes
        .replace(Vec::new())
        .expect("held");
    for (id, _) in writes {
        subject.feed(Input::WriteFailed { id, full: false });
    }
    assert_eq!(answers(&subject), [Err(ImportError::NotStored)]);
}

#[test]
fn import_pieces_are_bounded() {
    let branch = Branch::of(1, MAX_IMPORT_BLOCKS as u64 + 1);
    let mut subject = Subject::new();
    let whole = ImportPiece {
        blocks: branch.blocks.clone(),
        ..ImportPiece::default()
    };
    let too_large = |blocks, readings| {
        Some(Err(ImportError::TooLarge {
            blocks,
            readings,
            profiles: 0,
        }))
    };
    assert_eq!(
        feed_piece(&mut subject, whole),
        too_large(MAX_IMPORT_BLOCKS + 1, 0)
    );
    let readings = vec![reading(2, 0); MAX_IMPORT_READINGS + 1];
    let many = ImportPiece {
        readings,
        ..ImportPiece::default()
    };
    assert_eq!(
        feed_piece(&mut subject, many),
        too_large(0, MAX_IMPORT_READINGS + 1)
    );
    assert_eq!(subject.machine.status().index, 0);

    let most = ImportPiece {
        blocks: branch.blocks[..MAX_IMPORT_BLOCKS].to_vec(),
        ..ImportPiece::default()
    };
    assert!(matches!(feed_piece(&mut subject, most), Some(Ok(_))));

    let mut subject = Subject::new();
    subject.state.disk.held_writes = Some(Vec::new());
    for block in &branch.blocks[..MAX_PENDING_IMPORTS] {
        let piece = ImportPiece {
            blocks: vec![block.clone()],
            ..ImportPiece::default()
        };
        assert_eq!(feed_piece(&mut subject, piece), None);
    }
    let limit = MAX_PENDING_IMPORTS;
    assert_eq!(
        feed_piece(&mut subject, ImportPiece::default()),
        Some(Err(ImportError::Busy { limit }))
    );
}
