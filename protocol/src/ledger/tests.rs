//! What several ledgers do together about logs that cannot go on as they were.

mod disputes;
mod ends;
mod lagging;
mod limits;
mod returns;

use std::collections::BTreeMap;

use crate::audit::tests::fixture::{Alliance, Folder};
use crate::audit::{Auditor, Report};
use crate::constitution::{self, Draft};
use crate::crypto::sealed::SealingSecret;
use crate::epochs::Constitutions;
use crate::ids::BrandId;
use crate::world::{World, first_draft};

/// Brands whose logs a regulator opens.
fn audited_draft(brands: u8) -> Draft {
    let mut first = first_draft(brands);
    first.auditors = vec![constitution::Auditor {
        name: "regulator".to_owned(),
        access: constitution::Access::Standing,
        sealing: SealingSecret::derive(&[77; 32]).1,
        later: Vec::new(),
    }];
    first
}

/// What the regulator finds in what the brands have published.
fn audited(world: &World, constitutions: &Constitutions) -> Report {
    let sites = world.sites.iter();
    let folders: BTreeMap<BrandId, Folder> =
        sites.map(|(brand, site)| (*brand, site.folder.clone())).collect();
    let keys = [Alliance::auditor_key()];
    let auditor =
        Auditor { constitutions, keys: &keys, outside_witnesses: &[], payload_retention: None };
    auditor.audit(&folders, &mut ())
}

fn found(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}
