//! Stable sorts that share their code.
//!
//! The sorts of the standard library are compiled again for each type of element, 3 to 18 kB of wasm each time. These sort
//! positions with one copy of that code, and then move the elements. They take a `usize` of memory for each element.

use alloc::vec::Vec;
use core::cmp::Ordering;

use litemap::LiteMap;

/// Sorts ascending. Equal elements keep their order.
pub fn sort<T: Ord>(items: &mut [T]) {
    sort_by(items, T::cmp);
}

/// Sorts ascending by a key, which is computed again for each comparison. Elements with equal keys keep their order.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts by a comparison. Elements that compare as equal keep their order.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let order = sorted_positions(
        items.len(),
        &|one, other| match (items.get(one), items.get(other)) {
            (Some(one), Some(other)) => compare(one, other),
            _ => Ordering::Equal,
        },
    );
    apply(order, &mut |one, other| items.swap(one, other));
}

/// Adds entries to a table, of several with one key the last. For entries that ascend and come behind those of the table,
/// this is fast, as `LiteMap::extend` is; that one contains a sort for each type of entries.
pub fn extend<K: Ord, V>(table: &mut LiteMap<K, V>, entries: impl IntoIterator<Item = (K, V)>) {
    let mut others = Vec::new();
    for (key, value) in entries {
        others.extend(table.try_append(key, value));
    }
    if others.is_empty() {
        return;
    }
    let mut all = core::mem::take(table).into_tuple_vec();
    all.append(&mut others);
    sort_by(&mut all, |(one, _), (other, _)| one.cmp(other));
    for (key, value) in all {
        if let Some((key, value)) = table.try_append(key, value) {
            table.insert(key, value);
        }
    }
}

/// The positions of `count` elements in ascending order of the elements.
fn sorted_positions(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|one, other| compare(*one, *other));
    order
}

/// Moves the element at `order[at]` to `at`, for each position, by swaps along the cycles of the permutation.
fn apply(mut order: Vec<usize>, swap: &mut dyn FnMut(usize, usize)) {
    for start in 0..order.len() {
        let mut at = start;
        while let Some(next) = order.get_mut(at).map(|next| core::mem::replace(next, at)) {
            if next == start {
                break;
            }
            swap(at, next);
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, vec::Vec};
    use core::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sorts_as_the_standard_library_does(items: Vec<(u8, u16)>) {
            let mut expected = items.clone();
            let mut sorted = items.clone();
            expected.sort();
            sort(&mut sorted);
            prop_assert_eq!(&sorted, &expected);

            // Stable: equal keys keep their order.
            let mut expected = items.clone();
            let mut sorted = items;
            expected.sort_by_key(|(key, _)| Reverse(*key));
            sort_by_key(&mut sorted, |(key, _)| Reverse(*key));
            prop_assert_eq!(sorted, expected);
        }

        #[test]
        fn a_table_has_the_last_entry_of_each_key(parts: Vec<Vec<(u8, u16)>>) {
            let (mut table, mut expected) = (LiteMap::new(), BTreeMap::new());
            for part in parts {
                extend(&mut table, part.iter().copied());
                expected.extend(part);
                prop_assert!(table.iter().eq(&expected));
            }
        }
    }
}
