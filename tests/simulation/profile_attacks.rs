//! Attacks on the names of authors, and what no honest peer does in spite of them.

use heartchain_chain::{
    key::{Author, SecretKey, Signature},
    profile::{Profile, ProfileContent, ProfileName, SealedName},
    time::UnixMillis,
};
use heartchain_sync::{
    config::{PROFILE_FORWARD_BURST, PROFILE_FORWARD_INTERVAL},
    io::Topic,
    message::MAX_LISTED_PROFILES,
};

use crate::{id::Id, world::World};

/// Revisions of one name in one wave, and names of unknown authors.
const WAVE: u64 = 20;
const YEAR: u64 = 365 * 24 * 60 * 60_000;

impl World {
    fn sign_name(&self, key: &SecretKey, revision: u64, text: &str) -> Profile {
        let name = ProfileName::new(text).expect("a name");
        let signed = self
            .room
            .sign_profile(key, UnixMillis::new(revision), &name);
        signed.expect("the world has the room's key")
    }

    /// Gossips many revisions of the attacker's own name, one that is far ahead, junk that no member can open, names of unknown
    /// authors, and again the first names that it has seen of others.
    pub(crate) fn flood_profiles(&mut self, id: Id) {
        let key = SecretKey::from_seed(self.node(id).key_seed);
        let mut wave = Vec::new();
        for number in 0..WAVE {
            wave.push(self.sign_name(&key, self.now + number, &format!("Eve {number}")));
            let unknown = SecretKey::from_seed(self.rng.bytes());
            wave.push(self.sign_name(&unknown, self.now, "Mallory"));
        }
        wave.push(self.sign_name(&key, self.now + YEAR, "Eve"));
        if let ProfileContent::Sealed(_) = self.sign_name(&key, 0, "").content {
            let junk = ProfileContent::Sealed(SealedName::new([9; SealedName::LEN]));
            let revision = UnixMillis::new(self.now + WAVE);
            wave.push(key.sign_profile_content(self.room.id(), revision, junk));
        }
        let known: Vec<Profile> = self.node(id).machine().profiles().cloned().collect();
        if let Some(attacker) = &mut self.node_mut(id).attack {
            for profile in known {
                attacker.replays.entry(profile.author).or_insert(profile);
            }
            wave.extend(attacker.replays.values().cloned());
        }
        for profile in wave {
            self.gossip_forged(id, Topic::Profiles, profile.encode(), false);
        }
    }

    /// Gossips a newer name of an author on the chain with a wrong signature, and a name that is too long.
    pub(crate) fn forge_profiles(&mut self, id: Id) {
        let readings = self.chain_readings(id).map(|reading| reading.author);
        let authors: Vec<Author> = readings.collect();
        let key = SecretKey::from_seed(self.node(id).key_seed);
        if let Some(author) = self.rng.pick(&authors) {
            let mut forged = self.sign_name(&key, self.now, "Eve");
            (forged.author, forged.signature) = (author, Signature::new([7; Signature::LEN]));
            self.gossip_forged(id, Topic::Profiles, forged.encode(), true);
        }
        let mut long = self.sign_name(&key, self.now, "Eve").encode();
        long.resize(long.len() + 60, 7);
        self.gossip_forged(id, Topic::Profiles, long, true);
    }

    /// Whether this peer can prove that a gossiped profile is forged: only if it would keep and forward the profile otherwise.
    pub(crate) fn can_prove_profile(&self, to: Id, data: &[u8]) -> bool {
        let Ok(profile) = Profile::decode(self.room.form(), data) else {
            return true;
        };
        let node = self.node(to);
        let is_clock_good = self
            .nodes
            .iter()
            .all(|node| node.clock.offset.abs() < 10_000);
        let forwarded = node.metrics.forwarded_profiles.get(&profile.author);
        let forwarded = forwarded.map_or(0, Vec::len);
        let mut known = node.machine().profiles();
        let known = known.find(|known| known.author == profile.author);
        is_clock_good
            && (forwarded as u64) < PROFILE_FORWARD_BURST
            && node.machine().next_seq(&profile.author) > 0
            && known.is_none_or(|known| known.revision < profile.revision)
    }

    /// A page of an endless listing of made-up authors.
    pub(crate) fn endless_profiles(&mut self, id: Id, page: u64) -> Vec<Profile> {
        let key = SecretKey::from_seed(self.node(id).key_seed);
        let model = self.sign_name(&key, self.now, "Eve");
        let row = |number: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            Profile {
                author: Author::new(bytes),
                ..model.clone()
            }
        };
        let first = page * MAX_LISTED_PROFILES as u64;
        (first..first + MAX_LISTED_PROFILES as u64)
            .map(row)
            .collect()
    }

    /// A peer forwards a profile. No peer forwards more than a few revisions of one author within a minute.
    pub(crate) fn note_forwarded_profile(&mut self, id: Id, data: &[u8]) {
        let now = self.now;
        let Some(author) = data.first_chunk().copied().map(Author::new) else {
            return;
        };
        let forwarded = &mut self.node_mut(id).metrics.forwarded_profiles;
        let times = forwarded.entry(author).or_default();
        times.retain(|at| now - at < PROFILE_FORWARD_BURST * PROFILE_FORWARD_INTERVAL);
        times.push(now);
        let is_recent = |at: &&u64| now - **at < PROFILE_FORWARD_INTERVAL;
        let many = times.iter().filter(is_recent).count();
        if many as u64 > PROFILE_FORWARD_BURST {
            let text = format!("forwards {many} names of {author} within a minute");
            self.report_violation(id, "profiles", &text);
        }
    }
}
