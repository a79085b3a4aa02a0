//! The names of authors: which profiles are kept, forwarded and stored, and the comparison with peers.
//!
//! A profile is signed by its author, so a wrong signature proves a fault of the peer that sent it. Everything else that
//! makes a profile useless here is no fault: peers know different authors, their clocks differ, and in a private room a
//! peer without the key cannot tell a name from junk.

use alloc::{collections::VecDeque, vec::Vec};
use core::fmt::Debug;

use heartchain_chain::{
    key::Author,
    profile::{Profile, ProfileError, ProfileName},
    time::MonotonicMillis,
};
use litemap::LiteMap;

use super::{
    context::Context,
    journal::Journal,
    own_name::OwnName,
    peers::Peer,
    profile_ranks::{ProfileRanks, Rank},
    profile_table::ProfileTable,
    requests::RequestKind,
    token_bucket::TokenBucket,
};
use crate::{
    config::{
        ALL_PROFILES_FORWARD_BURST, ALL_PROFILES_FORWARD_RATE, MAX_IGNORED_AUTHORS, MAX_PROFILES,
        MAX_REVISION_AHEAD, MAX_UNWRITTEN_PROFILES, MIN_PROFILE_SYNC_INTERVAL,
        NAMES_EVENT_INTERVAL, PROFILE_SYNC_INTERVAL, PROFILE_SYNC_PEERS, PROFILE_WRITE_INTERVAL,
        WRITE_RETRY,
    },
    io::{DisconnectReason, Event, GossipId, Output, StoreOperation, Ticket, Verdict, WriteId},
    message::{GossipItem, MAX_LISTED_PROFILES, Request},
};

/// Rows accepted from one peer's listing: a full table, and what joins it during the listing.
const MAX_LISTED: usize = MAX_PROFILES + MAX_LISTED_PROFILES;

/// The known profiles, what of them is not on disk yet, and what each peer is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Profiles<P> {
    table: ProfileTable,
    own: OwnName,
    /// The author whose name is ours, as of the last poll.
    author: Option<Author>,
    listings: LiteMap<P, Listing>,
    compare_at: MonotonicMillis,
    compared_at: MonotonicMillis,
    /// Authors whose profiles were ignored because they had no reading on the best branch yet.
    ignored: VecDeque<Author>,
    ranks: ProfileRanks,
    /// How many profiles of all authors may be forwarded.
    forwards: TokenBucket,
    /// Authors whose profiles differ from those on disk.
    unwritten: LiteMap<Author, ()>,
    /// One write at a time, so that no more than the table waits for the disk.
    writing: Option<(WriteId, Vec<Author>)>,
    write_at: MonotonicMillis,
    /// Whether a shown name changed since the page was told.
    changed: bool,
    /// When the page may be told next.
    tell_at: MonotonicMillis,
}

/// The comparison with one peer.
#[derive(Clone, Copy, Debug, Default)]
struct Listing {
    /// Whether it was begun. That waits for the peer's Status, which tells its author.
    begun: bool,
    /// Profiles received in the current listing.
    rows: usize,
    /// Where to continue; `Some(None)` starts at the beginning.
    next: Option<Option<Author>>,
}

impl<P: Copy + Ord + Debug> Profiles<P> {
    pub(super) fn new(now: MonotonicMillis) -> Self {
        Self {
            table: ProfileTable::default(),
            own: OwnName::default(),
            author: None,
            listings: LiteMap::new(),
            compare_at: now.saturating_add(PROFILE_SYNC_INTERVAL),
            compared_at: now,
            ignored: VecDeque::new(),
            ranks: ProfileRanks::default(),
            forwards: TokenBucket::full(ALL_PROFILES_FORWARD_RATE, ALL_PROFILES_FORWARD_BURST, now),
            unwritten: LiteMap::new(),
            writing: None,
            write_at: now,
            changed: false,
            tell_at: now,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many changes are not on disk yet.
    pub(crate) fn unwritten(&self) -> usize {
        let writing = self.writing.as_ref();
        self.unwritten.len() + writing.map_or(0, |(_, authors)| authors.len())
    }

    /// All profiles, in the order of their authors.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.table.iter()
    }

    /// The profiles with names that can be read here.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&Profile, &ProfileName)> {
        self.table.names()
    }

    /// Adds a profile from disk. One that is damaged, or for which there is no room, is deleted there.
    pub(crate) fn restore(&mut self, ctx: &Context<P>, profile: Profile) {
        let room = ctx.tree.room();
        let name = room.open_profile(&profile);
        let is_kept = self.table.len() < MAX_PROFILES
            && self.table.is_newer(&profile)
            && profile.verify(room.id()).is_ok()
            && (name.is_some() || !room.is_member());
        if is_kept {
            self.table.insert(profile, name);
        } else {
            self.unwritten.insert(profile.author, ());
        }
    }

    pub(super) fn on_peer_connected(&mut self, peer: P) {
        self.listings.insert(peer, Listing::default());
    }

    pub(super) fn on_peer_gone(&mut self, peer: &P) {
        self.ranks.forget();
        self.listings.remove(peer);
    }

    /// A peer sent its Status. `is_new_author` says that it proved to act for an author that it did not act for before, whose
    /// profile may have been ignored so far.
    pub(super) fn on_status(&mut self, peer: &P, is_new_author: bool) {
        if is_new_author {
            self.ranks.forget();
        }
        let listing = self.listings.get_mut(peer);
        if let Some(listing) = listing.filter(|listing| is_new_author || !listing.begun) {
            listing.begun = true;
            listing.next = Some(None);
        }
    }

    /// The best branch changed. If it has the first reading of an author whose profile was ignored, peers are asked again.
    pub(super) fn on_switch(&mut self, ctx: &Context<P>) {
        let is_known = |author: &Author| ctx.tree.next_seq(author) > 0;
        if self.ignored.iter().any(is_known) {
            self.ignored.clear();
            self.compare_soon();
        }
    }

    /// Compares profiles with some peers soon.
    pub(super) fn compare_soon(&mut self) {
        let soon = self.compared_at.saturating_add(MIN_PROFILE_SYNC_INTERVAL);
        self.compare_at = self.compare_at.min(soon);
    }

    /// A person chose a name.
    pub(super) fn set_name(&mut self, ctx: &mut Context<P>, ticket: Ticket, name: ProfileName) {
        self.own.set(ctx, ticket, name);
    }

    /// Signs and writes our name, asks peers for theirs, and writes what has changed.
    pub(super) fn poll(&mut self, ctx: &mut Context<P>, journal: &Journal) {
        self.follow_key(journal);
        self.own.poll(ctx, journal, &self.table);
        for interim in self.own.interim(ctx, journal, &mut self.table) {
            ctx.output(Output::Publish(GossipItem::Profile(interim)));
        }
        self.compare(ctx);
        for peer in useful_peers(ctx) {
            self.send_request(ctx, peer);
        }
        self.write(ctx);
        if self.changed && self.tell_at <= ctx.now() {
            self.changed = false;
            self.tell_at = ctx.now().saturating_add(NAMES_EVENT_INTERVAL);
            ctx.emit(Event::Names);
        }
    }

    /// When something is due.
    pub(super) fn next_deadline(&self, ctx: &Context<P>) -> Option<MonotonicMillis> {
        let compare = (!ctx.peers.is_empty()).then_some(self.compare_at);
        let write = (self.writing.is_none() && !self.unwritten.is_empty()).then_some(self.write_at);
        let tell = self.changed.then_some(self.tell_at);
        let deadlines = [compare, write, tell, self.own.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// A key that replaced ours signs our name again, at once or after a restart. The profile of the earlier key stays as it is
    /// until a person chooses another name. One that is being written with the earlier key comes first: it may erase the name.
    fn follow_key(&mut self, journal: &Journal) {
        if self.own.is_busy() {
            return;
        }
        let author = journal.author();
        if self.author.replace(author) == Some(author) || self.table.get(&author).is_some() {
            return;
        }
        let earlier = journal.eras().map(|era| &era.author);
        let names = earlier.filter_map(|author| self.table.name(author));
        if let Some(name) = names.last().filter(|name| !name.as_str().is_empty()) {
            self.own.take_over(name.clone());
        }
    }

    /// Begins comparisons that are due.
    fn compare(&mut self, ctx: &mut Context<P>) {
        let now = ctx.now();
        if self.compare_at > now {
            return;
        }
        self.compare_at = now.saturating_add(PROFILE_SYNC_INTERVAL);
        self.compared_at = now;
        let mut peers = useful_peers(ctx);
        for _ in 0..PROFILE_SYNC_PEERS.min(peers.len()) {
            let chosen = usize::try_from(ctx.random_below(peers.len() as u64)).unwrap_or(0);
            let peer = peers.swap_remove(chosen);
            if let Some(listing) = self.listings.get_mut(&peer) {
                listing.next.get_or_insert(None);
            }
        }
    }

    /// Names can wait until a peer has answered everything else, as during a catch-up: before it, most of their authors are
    /// unknown here.
    fn send_request(&mut self, ctx: &mut Context<P>, peer: P) {
        let is_idle = ctx.peers.get(&peer).is_some_and(Peer::is_idle);
        let listing = self.listings.get_mut(&peer).filter(|_| is_idle);
        if let Some(after) = listing.and_then(|listing| listing.next.take()) {
            let request = Request::Profiles { after };
            ctx.request(peer, request, RequestKind::Profiles { after });
        }
    }

    /// The known profiles, for answers to peers.
    pub(super) const fn table(&self) -> &ProfileTable {
        &self.table
    }

    /// A peer answered with its profiles behind an author. `own` is our author.
    pub(super) fn on_profiles(
        &mut self,
        ctx: &mut Context<P>,
        own: &Author,
        (peer, after): (P, Option<Author>),
        profiles: Vec<Profile>,
    ) {
        let authors = profiles.iter().map(|profile| profile.author);
        let authors: Vec<Author> = after.into_iter().chain(authors).collect();
        if !authors.is_sorted_by(|a, b| a < b) {
            return ctx.ban(peer, DisconnectReason::WrongAnswer);
        }
        if let Some(listing) = self.listings.get_mut(&peer) {
            // An endless listing is cut off: no honest peer has so many.
            listing.rows = if after.is_none() { 0 } else { listing.rows };
            listing.rows = listing.rows.saturating_add(profiles.len());
            if profiles.len() >= MAX_LISTED_PROFILES && listing.rows < MAX_LISTED {
                listing.next.get_or_insert(authors.last().copied());
            }
        }
        for profile in profiles {
            if let Err(error) = self.verify_and_keep(ctx, own, profile) {
                return ctx.ban(peer, DisconnectReason::BadProfile(error));
            }
        }
    }

    /// Processes a gossiped profile.
    pub(super) fn on_gossip(
        &mut self,
        ctx: &mut Context<P>,
        own: &Author,
        (from, id): (P, GossipId),
        profile: Profile,
    ) {
        let author = profile.author;
        let now = ctx.now();
        // An author could sign any number of revisions, and peers would be blamed for more than is forwarded at most. One that is
        // too early is not worth its cost: the latest comes with the next comparison.
        if !self.table.may_forward(&author, now) || self.forwards.available(now) == 0 {
            let verdict = Verdict::Ignore;
            return ctx.output(Output::Verdict { id, from, verdict });
        }
        let verdict = match self.verify_and_keep(ctx, own, profile) {
            Ok(true) => Verdict::Accept,
            Ok(false) => Verdict::Ignore,
            Err(error) => {
                let verdict = Verdict::Reject;
                ctx.output(Output::Verdict { id, from, verdict });
                return ctx.ban(from, DisconnectReason::BadProfile(error));
            }
        };
        if verdict == Verdict::Accept {
            self.table.note_forward(&author, now);
            self.forwards.take(1, now);
        }
        ctx.output(Output::Verdict { id, from, verdict });
    }

    /// Keeps profiles of an imported file, whose signatures were checked.
    pub(super) fn on_imported(&mut self, ctx: &Context<P>, own: &Author, profiles: Vec<Profile>) {
        for profile in profiles {
            if self.is_wanted(ctx, own, &profile) {
                self.keep(ctx, own, profile);
            }
        }
    }

    /// Keeps a profile if it is new and of an author that matters here. Returns whether it was kept.
    fn verify_and_keep(
        &mut self,
        ctx: &Context<P>,
        own: &Author,
        profile: Profile,
    ) -> Result<bool, ProfileError> {
        // The signature of one that is not kept is not worth its cost.
        if !self.is_wanted(ctx, own, &profile) || !self.has_room(ctx, own, profile.author) {
            return Ok(false);
        }
        profile.verify(ctx.room())?;
        Ok(self.keep(ctx, own, profile))
    }

    fn is_wanted(&mut self, ctx: &Context<P>, own: &Author, profile: &Profile) -> bool {
        let author = profile.author;
        let latest = ctx.clock.corrected().saturating_add(MAX_REVISION_AHEAD);
        if profile.revision > latest {
            return false;
        }
        // One that was accepted while this clock was ahead would otherwise hide all later ones until its time. Our own stays:
        // each revision follows from the one before.
        let known = self.table.get(&author);
        let is_ahead = author != *own && known.is_some_and(|known| known.revision > latest);
        if !is_ahead && !self.table.is_newer(profile) {
            return false;
        }
        let is_entitled = Rank::of(ctx, own, author).is_entitled();
        if !is_entitled && !self.ignored.contains(&author) {
            if self.ignored.len() >= MAX_IGNORED_AUTHORS {
                self.ignored.pop_front();
            }
            self.ignored.push_back(author);
        }
        is_entitled
    }

    /// Keeps a verified profile, if it can be read and there is room for it.
    fn keep(&mut self, ctx: &Context<P>, own: &Author, profile: Profile) -> bool {
        let room = ctx.tree.room();
        let name = room.open_profile(&profile);
        if room.is_member() && name.is_none() {
            return false;
        }
        let author = profile.author;
        if !self.has_room(ctx, own, author) {
            return false;
        }
        self.make_room(ctx, own, author);
        self.changed |= self.table.insert(profile, name);
        self.unwritten.insert(author, ());
        true
    }

    /// Whether there is room for the profile of this author, or another author matters less.
    fn has_room(&mut self, ctx: &Context<P>, own: &Author, author: Author) -> bool {
        if self.table.get(&author).is_some() {
            return true;
        }
        // A new author and an evicted one both wait for the disk.
        let may_wait = self.unwritten() + MAX_PROFILES < MAX_UNWRITTEN_PROFILES;
        let authors = self.table.authors();
        may_wait
            && (self.table.len() < MAX_PROFILES || self.ranks.has_lower(ctx, own, authors, author))
    }

    /// Makes room for the profile of this author. The caller has checked that there can be.
    fn make_room(&mut self, ctx: &Context<P>, own: &Author, author: Author) {
        if self.table.get(&author).is_some() {
            return;
        }
        if self.table.len() < MAX_PROFILES {
            return self.ranks.forget();
        }
        let authors = self.table.authors();
        if let Some(evicted) = self.ranks.replace_lowest(ctx, own, authors, author) {
            self.changed |= self.table.name(&evicted).is_some();
            self.table.remove(&evicted);
            self.unwritten.insert(evicted, ());
        }
    }

    /// Writes what has changed.
    fn write(&mut self, ctx: &mut Context<P>) {
        if self.writing.is_some() || self.unwritten.is_empty() || self.write_at > ctx.now() {
            return;
        }
        let authors: Vec<Author> = self.unwritten.keys().copied().collect();
        self.unwritten.clear();
        let operations = authors.iter().map(|author| {
            let profile = self.table.get(author).cloned();
            profile.map_or(
                StoreOperation::DeleteProfile(*author),
                StoreOperation::PutProfile,
            )
        });
        let id = ctx.write_strictly(operations.collect());
        self.writing = Some((id, authors));
    }

    /// Handles the end of a write. Returns whether it was one of profiles.
    pub(super) fn on_written(&mut self, ctx: &mut Context<P>, id: WriteId, stored: bool) -> bool {
        if let Some((_, authors)) = self.writing.take_if(|(writing, _)| *writing == id) {
            let pause = if stored {
                PROFILE_WRITE_INTERVAL
            } else {
                WRITE_RETRY
            };
            self.write_at = ctx.now().saturating_add(pause);
            if !stored {
                for author in authors {
                    self.unwritten.insert(author, ());
                }
            }
            return true;
        }
        let is_own = self.own.is_writing(id);
        let profiles = self.own.on_written(ctx, id, stored);
        if profiles.is_some() {
            // If a key has replaced that of the profile meanwhile, it takes the name over.
            self.author = None;
        }
        for profile in profiles.into_iter().flatten() {
            let author = profile.author;
            // The write may have replaced a later name, of another place that has our key. Or an earlier one, which was received
            // before, may be on its way to the disk and replace this one.
            self.unwritten.insert(author, ());
            if self.table.is_newer(&profile) {
                let name = ctx.tree.room().open_profile(&profile);
                self.make_room(ctx, &author, author);
                self.changed |= self.table.insert(profile.clone(), name);
                ctx.output(Output::Publish(GossipItem::Profile(profile)));
            }
        }
        is_own
    }

    /// The store is empty, so everything is written again.
    pub(super) fn on_store_reset(&mut self) {
        for author in self.table.authors() {
            self.unwritten.insert(*author, ());
        }
    }
}

/// The peers to ask for names. In a private room these are its members, if one is connected.
fn useful_peers<P: Copy + Ord + Debug>(ctx: &Context<P>) -> Vec<P> {
    let mut peers = ctx.peers.ids();
    if peers.iter().any(|peer| !ctx.is_stranger(peer)) {
        peers.retain(|peer| !ctx.is_stranger(peer));
    }
    peers
}
