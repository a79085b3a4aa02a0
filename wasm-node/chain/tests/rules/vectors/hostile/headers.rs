//! Headers that break one of the rules 1 to 5, or two of them.

use heartchain_chain::{block::Block, hash::BlockHash, header::Header, work::CompactTarget};

use super::cases::Hostile;
use crate::vectors::blocks::mine;

impl Hostile {
    pub(super) fn headers(&mut self) {
        let (time, mtp) = (self.time, self.tip.window.mtp().get());
        self.header("wrong version", |h| h.version = 2, "Header/Version", "Copy");
        self.header(
            "unknown parent",
            |h| h.prev_hash = BlockHash::new([1; 32]),
            "Header/PrevHash",
            "Nothing",
        );
        self.header("index skipped", |h| h.index += 1, "Header/Index", "Header");
        self.header(
            "index of the parent",
            |h| h.index -= 1,
            "Header/Index",
            "Header",
        );
        self.header(
            "easier bits",
            |h| h.bits = CompactTarget::from_bits(0x207f_ffff),
            "Header/Bits",
            "Header",
        );
        let Block { header, readings } = self.honest.clone();
        // After a quiet gap the floor is expected, which has a second compact form.
        let quiet = self.tip.template(time + 100_000, &readings);
        let second_form = CompactTarget::from_bits(0x2100_0100);
        assert_eq!(second_form.target(), quiet.bits.target());
        let second_form = mine(Header {
            bits: second_form,
            ..quiet
        });
        self.block(
            "bits spelt otherwise",
            second_form,
            &readings,
            "Header/Bits",
            "Header",
        );

        let target = header.bits.target().expect("a target");
        let meets = |nonce: &u64| {
            target.is_met_by(
                &Header {
                    nonce: *nonce,
                    ..header
                }
                .hash(),
            )
        };
        let nonce = (0..).find(|nonce| !meets(nonce)).expect("most nonces miss");
        self.block(
            "not enough work",
            Header { nonce, ..header },
            &readings,
            "Header/Work",
            "Header",
        );

        let template = |time| self.tip.template(time, &readings);
        let (old, early) = (mine(template(mtp)), mine(template(time + 30_001)));
        self.block(
            "time not after the median",
            old,
            &readings,
            "Header/NotAfterMedian",
            "Header",
        );
        self.block(
            "time 30,001 ms ahead",
            early,
            &readings,
            "Header/TooEarly",
            "Nothing",
        );

        let valid = [
            ("time 30,000 ms ahead", time + 30_000),
            ("time 1 ms after the median", mtp + 1),
        ];
        for (name, time) in valid {
            let header = mine(self.tip.template(time, &readings));
            self.valid(name, header, &readings);
        }
    }

    /// Headers that break two rules, of which the first counts.
    pub(super) fn header_order(&mut self) {
        let (time, mtp) = (self.time, self.tip.window.mtp().get());
        let unknown = BlockHash::new([1; 32]);
        self.header(
            "wrong version, unknown parent",
            |h| (h.version, h.prev_hash) = (2, unknown),
            "Header/Version",
            "Copy",
        );
        self.header(
            "wrong version, index skipped",
            |h| (h.version, h.index) = (0, h.index + 1),
            "Header/Version",
            "Copy",
        );
        self.header(
            "unknown parent, index skipped",
            |h| (h.prev_hash, h.index) = (unknown, h.index + 1),
            "Header/PrevHash",
            "Nothing",
        );
        let easier = CompactTarget::from_bits(0x207f_ffff);
        self.header(
            "index skipped, easier bits",
            |h| (h.index, h.bits) = (h.index + 1, easier),
            "Header/Index",
            "Header",
        );
        let Block { header, readings } = self.honest.clone();
        let misses = |header: Header| {
            let target = header.bits.target().expect("a target");
            (0..)
                .map(|nonce| Header { nonce, ..header })
                .find(|header| !target.is_met_by(&header.hash()))
                .expect("most nonces miss")
        };
        let bits = CompactTarget::from_bits(header.bits.to_bits() - 1);
        self.block(
            "harder bits, not enough work",
            misses(Header { bits, ..header }),
            &readings,
            "Header/Bits",
            "Header",
        );
        let old = self.tip.template(mtp, &readings);
        self.block(
            "not enough work, time not after the median",
            misses(old),
            &readings,
            "Header/Work",
            "Header",
        );
        let ahead = self.tip.template(time + 30_001, &readings);
        self.block(
            "not enough work, time 30,001 ms ahead",
            misses(ahead),
            &readings,
            "Header/Work",
            "Header",
        );
        let early = mine(self.tip.template(time + 30_001, &[]));
        self.block(
            "time 30,001 ms ahead, no readings",
            early,
            &[],
            "Header/TooEarly",
            "Nothing",
        );
        // With a clock that is far behind, a time can be too early and too late.
        let block = Block {
            header: mine(self.tip.template(mtp, &readings)),
            readings,
        };
        self.case_at(
            mtp - 30_001,
            "time at the median, 30,001 ms ahead of a slow clock",
            &block.encode(),
            "Header/NotAfterMedian",
            "Header",
        );
    }
}
