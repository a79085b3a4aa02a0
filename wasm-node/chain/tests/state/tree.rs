//! The bounds of the tree, and which blocks it invalidates and removes.

use heartchain_chain::{
    block::{Block, MAX_BLOCK_READINGS},
    hash::BlockHash,
    reading::Reading,
    tree::{
        InsertError, Invalidated, MAX_INVALID, MAX_LOCATOR, MAX_SIDE_BLOCKS, MAX_SIDE_DEPTH,
        MAX_SIDE_READINGS, Tree,
    },
};

use crate::fixtures::{NOW, chain, insert, key, mine, reading, room, tree_of};

/// The leaves above the best tip by headers alone, the one with the most work first.
fn leaves(tree: &Tree) -> Vec<BlockHash> {
    let mut leaves: Vec<BlockHash> = Vec::new();
    while let Some(leaf) = tree.heaviest_leaf(|hash| leaves.contains(hash)) {
        leaves.push(leaf.hash);
    }
    leaves
}

#[test]
fn sequence_error_invalidates_descendants() {
    let good = chain(1, 2);
    let mut tree = tree_of(&good);
    let mut headers = vec![good[0].header];
    let mut bad = Vec::new();
    for (author, seq) in [(2, 0), (2, 5), (3, 0)] {
        let block = mine(&headers, vec![reading(author, seq, 0)], 1_000);
        headers.push(block.header);
        bad.push(block);
    }
    for block in &bad {
        insert(&mut tree, block);
    }
    let advance = tree.advance();
    let [Invalidated { error, removed }] = &advance.invalid[..] else {
        panic!("{advance:?}");
    };
    assert_eq!(
        (error.hash, error.expected, error.found),
        (bad[1].header.hash(), 1, 5)
    );
    assert_eq!(error.author, key(2).author());
    assert_eq!(removed.hashes.len(), 2);
    let tips = [bad[0].header.hash(), good[1].header.hash()];
    assert!(
        tips.contains(&tree.tip().hash),
        "the valid part may have as much work"
    );
    assert!(tree.is_invalid(&bad[1].header.hash()));
    for block in &bad[1..] {
        let hash = block.header.hash();
        assert_eq!(
            tree.insert_header(&block.header, NOW),
            Err(InsertError::Invalid { hash })
        );
    }
}

#[test]
fn best_branch_is_never_invalidated() {
    let good = chain(1, 3);
    let mut tree = tree_of(&good);
    assert!(tree.invalidate(&good[1].header.hash()).hashes.is_empty());
    assert_eq!(tree.tip().index, 3);
}

#[test]
fn lightest_side_blocks_are_pruned_first() {
    let good = chain(1, 3);
    let mut tree = tree_of(&good);
    let readings = |number: u64| -> Vec<Reading> { vec![reading(2, 0, number)] };
    let heavier: Vec<Block> = (0..10)
        .map(|number| mine(&[good[0].header, good[1].header], readings(number), 500))
        .collect();
    for block in &heavier {
        insert(&mut tree, block);
    }
    for number in 0..MAX_SIDE_BLOCKS as u64 + 50 {
        insert(&mut tree, &mine(&[], readings(number), 500 + number));
    }
    tree.advance();
    let removed = tree.prune(&[]);
    assert_eq!(tree.side_blocks(), MAX_SIDE_BLOCKS);
    assert_eq!(removed.len(), 60);
    for block in &heavier {
        assert!(tree.block(&block.header.hash()).is_some());
    }
    assert_eq!(tree.tip().index, 3);
}

#[test]
fn deep_side_blocks_are_pruned() {
    let good = chain(1, MAX_SIDE_DEPTH + 1);
    let (side, growing) = (
        mine(&[], vec![reading(2, 0, 0)], 500),
        mine(&[], vec![reading(3, 0, 0)], 500),
    );
    let mut tree = Tree::new(room());
    for block in [&side, &growing] {
        insert(&mut tree, block);
    }
    for block in &good[..good.len() - 1] {
        insert(&mut tree, block);
        tree.advance();
        tree.prune(&[]);
    }
    let hash = side.header.hash();
    assert_eq!(tree.tip().index, MAX_SIDE_DEPTH);
    assert!(tree.block(&hash).is_some());
    insert(&mut tree, &good[good.len() - 1]);
    tree.advance();
    assert_eq!(tree.tip().index, MAX_SIDE_DEPTH + 1);
    assert!(tree.block(&hash).is_some(), "exactly 1,000 below");
    let more = mine(
        &good.iter().map(|block| block.header).collect::<Vec<_>>(),
        vec![reading(4, 0, 0)],
        1_000,
    );
    insert(&mut tree, &more);
    tree.advance();
    assert_eq!(tree.prune(&[growing.header.hash()]), [hash]);
    assert!(tree.block(&growing.header.hash()).is_some());
}

#[test]
fn heaviest_leaf_follows_new_headers() {
    let (a, b) = (chain(1, 5), chain(2, 4));
    let mut tree = Tree::new(room());
    let mut leaves_after = |blocks: &[Block]| {
        for block in blocks {
            tree.insert_header(&block.header, NOW)
                .expect("a valid header");
        }
        leaves(&tree)
    };
    let hash = |block: &Block| block.header.hash();
    let (a3, a5, b4) = (hash(&a[2]), hash(&a[4]), hash(&b[3]));
    assert_eq!(leaves_after(&a[..3]), [a3]);
    assert_eq!(leaves_after(&b), [b4, a3]);
    assert_eq!(leaves_after(&a[3..]), [a5, b4]);
    assert_eq!(tree.invalidate(&hash(&a[3])).hashes, [a5, hash(&a[3])]);
    assert_eq!(leaves(&tree), [b4, a3]);
}

#[test]
fn locator_runs_from_tip_to_genesis() {
    let good = chain(1, 300);
    let tree = tree_of(&good);
    let locator = tree.locator(&tree.tip().hash);
    assert!(locator.len() <= MAX_LOCATOR && locator.len() < 30);
    assert_eq!(locator.first(), Some(&tree.tip().hash));
    assert_eq!(locator.last(), Some(&room().genesis_hash()));
    // Newest first, without duplicates.
    let heights: Vec<u64> = locator
        .iter()
        .map(|hash| tree.block(hash).expect("known").index)
        .collect();
    assert!(heights.is_sorted_by(|a, b| a > b), "{heights:?}");
    let next = tree.headers_after(&locator[5..], 3);
    assert_eq!(
        next.first().map(|header| header.index),
        Some(heights[5] + 1)
    );
    assert_eq!(next.len(), 3);
}

#[test]
fn header_with_unknown_parent_is_rejected() {
    let good = chain(1, 3);
    let mut tree = Tree::new(room());
    let parent = good[1].header.hash();
    assert_eq!(
        tree.insert_header(&good[2].header, NOW),
        Err(InsertError::UnknownParent { parent })
    );
    assert_eq!(tree.block(&good[2].header.hash()), None);
    assert!(!tree.insert_checked_body(&good[2].header.hash(), &good[2].readings));
}

#[test]
fn side_readings_are_bounded() {
    let mut tree = tree_of(&chain(1, 3));
    let readings: Vec<Reading> = (0..MAX_BLOCK_READINGS as u64)
        .map(|seq| reading(2, seq, 0))
        .collect();
    let many = (MAX_SIDE_READINGS / MAX_BLOCK_READINGS) as u64;
    let sides: Vec<Block> = (0..=many)
        .map(|number| mine(&[], readings.clone(), 500 + number))
        .collect();
    for block in &sides[1..] {
        insert(&mut tree, block);
    }
    tree.advance();
    assert!(tree.prune(&[]).is_empty());
    assert_eq!(tree.side_readings(), MAX_SIDE_READINGS, "just full");
    insert(&mut tree, &sides[0]);
    tree.advance();
    // All have the same work, so the highest hash ranks last.
    let last = sides.iter().map(|block| block.header.hash()).max();
    assert_eq!(tree.prune(&[]), Vec::from_iter(last));
    assert_eq!(tree.side_readings(), MAX_SIDE_READINGS);
}

#[test]
fn invalid_hashes_are_bounded() {
    let mut tree = tree_of(&chain(1, 3));
    let bad: Vec<Block> = (0..=MAX_INVALID as u64)
        .map(|number| mine(&[], vec![reading(2, 0, 0)], 500 + number))
        .collect();
    for (number, block) in (1..).zip(&bad) {
        insert(&mut tree, block);
        let hash = block.header.hash();
        assert_eq!(tree.invalidate(&hash).hashes, [hash]);
        assert!(tree.is_invalid(&hash));
        let first = tree.is_invalid(&bad[0].header.hash());
        assert_eq!(first, number <= MAX_INVALID);
    }
    assert_eq!(tree.side_blocks(), 0);
}

#[test]
fn bodiless_headers_are_removed_up_to_a_fork() {
    let good = chain(1, 6);
    let mut tree = Tree::new(room());
    for block in &good {
        tree.insert_header(&block.header, NOW).expect("valid");
    }
    assert_eq!(tree.bodiless_blocks(), 6);
    for block in &good[..2] {
        tree.insert_checked_body(&block.header.hash(), &block.readings);
    }
    tree.advance();
    assert_eq!((tree.tip().index, tree.bodiless_blocks()), (2, 4));
    let fork = mine(
        &good[..4]
            .iter()
            .map(|block| block.header)
            .collect::<Vec<_>>(),
        vec![reading(2, 0, 0)],
        700,
    );
    tree.insert_header(&fork.header, NOW).expect("valid");
    let window = tree.window(&good[5].header.hash()).expect("known");
    assert_eq!(window.next_index(), 7);
    let hashes: Vec<_> = good[4..]
        .iter()
        .rev()
        .map(|block| block.header.hash())
        .collect();
    assert_eq!(
        tree.remove_bodiless(&hashes[0]),
        hashes,
        "another branch builds on the fourth"
    );
    assert_eq!(tree.bodiless_blocks(), 3);
    assert_eq!(tree.remove_bodiless(&fork.header.hash()).len(), 3);
    assert!(tree.remove_bodiless(&tree.tip().hash).is_empty());
    assert_eq!((tree.bodiless_blocks(), tree.side_blocks()), (0, 0));
    assert_eq!(tree.heaviest_leaf(|_| false), None);
}
