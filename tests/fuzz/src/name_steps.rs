//! Steps that concern the names of authors. They follow from the same bytes as the other steps, read from the end, so that
//! adding them changed the meaning of no byte in the corpus.

use heartchain_chain::profile::ProfileName;
use heartchain_sync::{
    io::Topic,
    message::{MAX_LISTED_PROFILES, Request, Response},
};
use heartchain_test_support::Driver as _;

use crate::{harness::Harness, pool::key, steps::PEERS};

const NAMES: [&str; 4] = ["", "Ada", "Bo", "1234567890123456789012345678901234567890"];

/// A step that concerns names: its kind, and two numbers.
#[derive(Clone, Copy, Debug)]
pub struct NameStep([u8; 3]);

impl NameStep {
    /// The steps that the bytes describe.
    pub fn all_of(data: &[u8]) -> impl Iterator<Item = Self> {
        data.rchunks_exact(3)
            .filter_map(|step| step.try_into().ok())
            .map(Self)
    }

    /// Lets the page, a peer or the disk of this harness do what the step says.
    pub fn run(self, harness: &mut Harness) {
        let Self([kind, one, two]) = self;
        let (pool, peer) = (harness.pool, two % PEERS);
        match kind % 8 {
            0 => {
                let name = NAMES[usize::from(one) % NAMES.len()];
                harness.set_name(ProfileName::new(name).expect("a name"));
            }
            1 => {
                harness.gossip(peer, Topic::Profiles, pool.profile(one).encode());
            }
            2 => {
                let mut bytes = pool.profile(one).encode();
                let at = usize::from(two) % bytes.len();
                bytes[at] ^= kind | 1;
                harness.gossip(peer, Topic::Profiles, bytes);
            }
            3 => {
                let after = one.is_multiple_of(2).then(|| key(one / 2).author());
                harness.ask(peer, Request::Profiles { after }.encode());
            }
            4 => answer_listing(harness, one),
            // The other steps have the time of names as well.
            _ => {}
        }
    }
}

/// Answers an open request for profiles: as an honest peer does, or with one profile, which may be the wrong one.
fn answer_listing(harness: &mut Harness, number: u8) {
    let pool = harness.pool;
    let mut open = harness.state.open_requests.iter();
    let open = open.find_map(|(id, (peer, request))| {
        let Request::Profiles { after } = request else {
            return None;
        };
        Some((*id, *peer, *after))
    });
    let Some((id, peer, after)) = open else {
        return;
    };
    let mut page = pool.profiles.clone();
    // The latest of each author.
    page.sort_by_key(|profile| (profile.author, core::cmp::Reverse(profile.revision)));
    page.dedup_by_key(|profile| profile.author);
    page.retain(|profile| Some(profile.author) > after);
    page.truncate(MAX_LISTED_PROFILES);
    if number > 200 {
        page = vec![pool.profile(number).clone()];
    }
    harness.respond_with(peer, id, &Response::Profiles(page));
}
