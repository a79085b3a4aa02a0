//! Stored blocks that are ahead of a clock that was set back, and the confirmed part of the best branch.

use heartchain_chain::{
    time::UnixMillis,
    tree::{BURIED_BLOCKS, InsertError, MAX_SIDE_BLOCKS, Tree},
    validate::MAX_FUTURE_MS,
};

use crate::fixtures::{chain, insert, key, mine, reading, tree_of};

/// When the block at height `index` of the best branch is due.
fn due(tree: &Tree, index: u64) -> UnixMillis {
    let hash = tree.best_hash(index).expect("on the best branch");
    let header = tree.header(&hash).expect("in the tree");
    header.time.saturating_sub(MAX_FUTURE_MS)
}

#[test]
fn clock_set_back_holds_back_early_blocks() {
    let blocks = chain(1, 10);
    let mut tree = tree_of(&blocks);
    let whole = tree.tip();
    let [fifth, seventh] = [5, 7].map(|index| due(&tree, index));
    let switch = tree.hold_back(fifth).expect("a shorter branch");
    assert_eq!((switch.fork_index, switch.disconnected.len()), (5, 5));
    assert_eq!(tree.tip().index, 5);
    assert_eq!(tree.held_back_blocks(), 5);
    assert_eq!((tree.side_blocks(), tree.side_readings()), (0, 0));
    assert!(
        tree.advance().switch.is_none(),
        "they are still ahead of the clock"
    );
    assert!(tree.heaviest_leaf(|_| false).is_none(), "nothing to fetch");
    assert!(!tree.release_due(fifth));
    assert!(tree.release_due(seventh));
    tree.advance();
    assert_eq!((tree.tip().index, tree.held_back_blocks()), (7, 3));
    assert!(tree.release_due(whole.time));
    tree.advance();
    assert_eq!(tree.tip(), whole);
    assert_eq!((tree.held_back_blocks(), tree.held_back_until()), (0, None));
}

#[test]
fn held_back_blocks_are_never_pruned() {
    let blocks = chain(1, 10);
    let mut tree = tree_of(&blocks);
    let third = due(&tree, 3);
    tree.hold_back(third);
    let headers: Vec<_> = blocks[..3].iter().map(|block| block.header).collect();
    for number in 0..MAX_SIDE_BLOCKS as u64 + 10 {
        let rival = mine(&headers[..2], vec![reading(2, 0, number)], 1_000);
        insert(&mut tree, &rival);
    }
    tree.advance();
    tree.prune(&[]);
    assert_eq!(tree.held_back_blocks(), 7);
    assert!(tree.side_blocks() <= MAX_SIDE_BLOCKS);
    tree.release_due(blocks[9].header.time);
    tree.advance();
    assert_eq!(tree.tip().hash, blocks[9].header.hash());
}

#[test]
fn peers_cannot_extend_held_back_blocks() {
    let blocks = chain(1, 10);
    let mut tree = tree_of(&blocks[..9]);
    let eighth = due(&tree, 8);
    tree.hold_back(eighth);
    let now = blocks[9].header.time;
    let hash = blocks[9].header.hash();
    assert_eq!(
        tree.insert_header(&blocks[9].header, now),
        Err(InsertError::HeldBack { hash })
    );
    assert!(tree.insert_accepted_header(&blocks[9].header, now).is_ok());
}

#[test]
fn confirmed_counts_follow_the_branch() {
    let blocks = chain(1, 20);
    let mut tree = tree_of(&blocks);
    let author = key(1).author();
    assert_eq!(tree.confirmed_seq(&author), 0);
    tree.confirm(12);
    assert_eq!(
        (tree.confirmed_index(), tree.confirmed_seq(&author)),
        (12, 12)
    );
    tree.confirm(5);
    assert_eq!(tree.confirmed_index(), 12, "never lower");
    tree.confirm(1_000);
    assert_eq!(
        (tree.confirmed_index(), tree.confirmed_seq(&author)),
        (20, 20)
    );
    let eighth = due(&tree, 8);
    tree.hold_back(eighth);
    assert_eq!(
        (tree.confirmed_index(), tree.confirmed_seq(&author)),
        (8, 8)
    );
    tree.release_due(blocks[19].header.time);
    tree.advance();
    assert_eq!(
        (tree.confirmed_index(), tree.confirmed_seq(&author)),
        (8, 8)
    );
}

#[test]
fn readings_are_buried_after_1000_blocks() {
    let many = BURIED_BLOCKS + 5;
    let mut tree = tree_of(&chain(1, many));
    assert_eq!(tree.tip().index, many);
    tree.confirm(0);
    assert_eq!(tree.buried_seq(&key(1).author()), 5);
}
