//! The sample of real purchases that ships with the project, embedded in the binary.
//!
//! Knows: the five brands of the sample and the bytes of their files. Source, permission and what
//! is constructed: `sample/complete-journey-small/README.md`. Does not know Parquet: the bytes are
//! read by whoever imports them.

/// The files of one brand of the sample.
#[derive(Clone, Copy)]
pub struct SampleBrand {
    /// The brand's id in the sample alliance.
    pub id: &'static str,
    /// `members.parquet`: one row a member.
    pub members: &'static [u8],
    /// `purchases.parquet`: one row a line of a receipt.
    pub purchases: &'static [u8],
    /// How many rows `members` has.
    pub member_rows: u64,
    /// How many rows `purchases` has.
    pub purchase_rows: u64,
}

impl std::fmt::Debug for SampleBrand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the files are megabytes of members' rows
        f.debug_struct("SampleBrand").field("id", &self.id).finish_non_exhaustive()
    }
}

macro_rules! brand {
    ($id:literal, $members:literal, $purchases:literal) => {
        SampleBrand {
            id: $id,
            members: include_bytes!(concat!(
                "../sample/complete-journey-small/",
                $id,
                "/members.parquet"
            )),
            purchases: include_bytes!(concat!(
                "../sample/complete-journey-small/",
                $id,
                "/purchases.parquet"
            )),
            member_rows: $members,
            purchase_rows: $purchases,
        }
    };
}

/// The five brands, in the order of their ids.
pub const BRANDS: [SampleBrand; 5] = [
    brand!("fresh_counter", 293, 9_711),
    brand!("fuel_stop", 160, 2_094),
    brand!("grocer_one", 249, 78_518),
    brand!("grocer_two", 257, 89_859),
    brand!("health_home", 294, 23_463),
];

/// The rules that a programme begins with, as TOML: what purchases earn, and nothing else. They are the
/// sample's, and a node's until its brand has its own.
pub const FIRST_RULES: &str = include_str!("../sample/programme.toml");
/// The rules of a programme with every field there is, each explained: to begin one's own from.
pub const PROGRAMME_TEMPLATE: &str = include_str!("../templates/programme.toml");

/// Names of the shipped mappings: how an import reads the files of known data sets.
pub const MAPPINGS: [&str; 2] = ["complete-journey", "online-retail"];

/// The shipped mapping of a name, as TOML.
#[must_use]
pub fn mapping(name: &str) -> Option<&'static str> {
    match name {
        "complete-journey" => Some(include_str!("../sample/mappings/complete-journey.toml")),
        "online-retail" => Some(include_str!("../sample/mappings/online-retail.toml")),
        _ => None,
    }
}

/// Who gave the data and on what terms; shown wherever the sample is.
pub const ATTRIBUTION: &str = "Dunnhumby, The Complete Journey (300 households), provided by 84.51°, \
     published as CC0 on CRAN; brands, member ids, match keys and basket numbers are constructed";

/// The brand with this id.
#[must_use]
pub fn brand(id: &str) -> Option<&'static SampleBrand> {
    BRANDS.iter().find(|brand| brand.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_whole_parquet_and_the_ids_are_brand_ids() {
        for brand in BRANDS {
            assert!(protocol::ids::BrandId::new(brand.id).is_ok(), "{}", brand.id);
            for file in [brand.members, brand.purchases] {
                assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"), "{}", brand.id);
            }
        }
        assert!(BRANDS.is_sorted_by_key(|brand| brand.id));
        assert_eq!(brand("fuel_stop").map(|brand| brand.purchase_rows), Some(2_094));
    }
}
