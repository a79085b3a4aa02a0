//! Which kinds of misbehaviour there are. `misbehaviour_replies` and `misbehaviour_turns` carry them out.

/// How a peer misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misbehaviour {
    /// Never answers requests.
    Silent,
    /// Answers with random bytes.
    Noise,
    /// Answers with more bytes than any response may have.
    Oversize,
    /// Answers with a response of another kind.
    WrongResponseKind,
    /// Answers with bodies that do not match their headers.
    JunkBodies,
    /// Lists its mempool and its profiles out of order.
    Unsorted,
    /// Claims work that it does not have.
    FalseClaim,
    /// Mines headers whose bodies it never sends, and sends no other bodies either.
    Withhold,
    /// Reports a clock that is almost as far ahead as a clock may be corrected, or a random time.
    WrongClock,
    /// Gossips random bytes.
    GossipNoise,
    /// Sends requests of random bytes.
    RequestNoise,
    /// Gossips readings with an invalid signature.
    ForgedReading,
    /// Gossips readings with impossible heart rates.
    BadBpm,
    /// Gossips readings and blocks of another room.
    OtherRoom,
    /// Gossips blocks without proof of work.
    NoWork,
    /// Gossips blocks with a wrong difficulty.
    WrongDifficulty,
    /// Gossips blocks whose readings do not match the header.
    WrongRoot,
    /// Gossips mined blocks with a forged reading.
    ForgedInBlock,
    /// Gossips mined blocks with a reading that skips sequence numbers of its author.
    SkippedSeq,
    /// Gossips mined blocks with a timestamp further in the future than the rules allow.
    TooEarly,
    /// Signs two readings with the same sequence number.
    Equivocation,
    /// Gossips readings of fresh keys in waves.
    Flood,
    /// Claims more work than there is, and sends endless minimum-work headers without bodies.
    LowWorkHeaders,
    /// Gossips mined blocks whose timestamp is not later than the median time past.
    BehindMedian,
    /// Gossips honest headers with readings that do not belong to them.
    JunkOnHonest,
    /// Gossips names with a wrong signature or of a wrong length.
    ForgedProfile,
    /// Mines valid blocks with a timestamp as far in the future as the rules allow. Breaks no rule.
    StampsAhead,
}

impl Misbehaviour {
    /// The kinds that random runs draw from. The order is part of what a seed means. `StampsAhead` is left out because
    /// it has scenarios of its own.
    pub(crate) const ALL: [Self; 26] = [
        Self::Silent,
        Self::Noise,
        Self::Oversize,
        Self::WrongResponseKind,
        Self::JunkBodies,
        Self::Unsorted,
        Self::FalseClaim,
        Self::Withhold,
        Self::WrongClock,
        Self::GossipNoise,
        Self::RequestNoise,
        Self::ForgedReading,
        Self::BadBpm,
        Self::OtherRoom,
        Self::NoWork,
        Self::WrongDifficulty,
        Self::WrongRoot,
        Self::ForgedInBlock,
        Self::SkippedSeq,
        Self::TooEarly,
        Self::Equivocation,
        Self::Flood,
        Self::LowWorkHeaders,
        Self::BehindMedian,
        Self::JunkOnHonest,
        Self::ForgedProfile,
    ];
}
