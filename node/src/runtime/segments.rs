//! Members counted by segment, on a thread of its own: it looks at every one of them.

use protocol::time::Timestamp;

use super::core::Core;
use super::core::campaigns::{segment_terms, segments_view};
use crate::service::{Reply, SegmentRequest, SegmentsView};

/// Answers with the segments and how many members each has, as of now.
pub(super) fn begin(
    core: &Core,
    asked: Option<SegmentRequest>,
    now: Timestamp,
    reply: Reply<SegmentsView>,
) {
    let asked = match asked.map(segment_terms).transpose() {
        Ok(asked) => asked,
        // whoever asked may be gone
        Err(error) => return drop(reply.send(Err(error))),
    };
    // what grows with members is shared with the copy
    let (programme, rules, kept) = (core.programme.copy(), core.rules(), core.kept_segments());
    tokio::task::spawn_blocking(move || {
        let view = segments_view(&programme, &rules, &kept, asked.as_ref(), now);
        let _ = reply.send(view);
    });
}
