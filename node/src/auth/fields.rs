//! Who sees what of a member: one table of fields and roles, by which the record of a member, lists of members and
//! notices to members are shown.
//!
//! A phone number is never in clear for people: the member alone, through the member's own session, gets
//! it whole. What a role does not see is not in the answer at all. A card number is whole for the brand's own app, a program,
//! in the notices that it pushes, and nowhere else; people name a member by the card they were shown, or by `~` and the id.
//! What members' requests and service requests say in their own words is shown to who answers them as it was written.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Role;

/// How much of a field somebody sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// Nothing; not even whether there is one.
    Nothing,
    /// Its ends, or that there is one.
    Masked,
    /// All of it.
    Whole,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident $name:literal: $($role:ident $sight:ident),*;)*) => {
        /// A field of a member.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MemberField {$($(#[$doc])* $field,)*}

        impl MemberField {
            /// Every field.
            pub const ALL: &[Self] = &[$(Self::$field),*];

            /// Its name in answers.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {$(Self::$field => $name,)*}
            }

            /// What a role sees of it.
            #[must_use]
            pub const fn seen_by(self, role: Role) -> Sight {
                match self {$(
                    Self::$field => match role {
                        $(Role::$role => Sight::$sight,)*
                        _ => Sight::Nothing,
                    },
                )*}
            }

            /// What somebody with these roles sees of it: the most that any of them does.
            #[must_use]
            pub fn seen_by_any(self, roles: &[Role]) -> Sight {
                roles.iter().map(|role| self.seen_by(*role)).max().unwrap_or(Sight::Nothing)
            }
        }
    };
}

fields! {
    /// Telephone numbers.
    Phone "phone": Store Masked, Officer Masked;
    /// Card numbers.
    Card "card": Store Masked, Officer Masked;
    /// The card, or the number that the vault gave to who has none, by which a member is named to a till and messages are
    /// addressed: for the brand's app, which has the member before it and opens the member's own session.
    AddressedCard "addressed_card": Store Masked, App Whole;
    /// Accounts, addresses, plates: every other identifier whose value is kept.
    Identifiers "identifiers": Store Masked, Officer Masked;
    /// That there is a device, a face token, a payment token.
    Tokens "tokens": Officer Masked;
    /// Name.
    Name "name": Store Masked, Officer Masked;
    /// Postal address.
    Address "address": Officer Masked;
    /// Date of birth.
    BirthDate "birth_date": Officer Masked;
    /// Bands of age, income and household.
    Profile "profile": Officer Whole;
    /// Points.
    Points "points": Store Whole, Officer Whole;
    /// Links to other brands.
    Links "links": Store Whole, Officer Whole;
    /// Consents.
    Consents "consents": Store Whole, Officer Whole;
    /// Requests, such as for erasure.
    Requests "requests": Officer Whole;
    /// Members who were merged into this one.
    Merges "merges": Officer Whole;
    /// A legal hold.
    Hold "hold": Officer Whole;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_numbers_are_never_whole_for_people() {
        for role in Role::ALL {
            for field in [MemberField::Phone, MemberField::Card, MemberField::Identifiers] {
                assert!(field.seen_by(role) < Sight::Whole, "{role} {}", field.name());
            }
        }
        assert_eq!(MemberField::Phone.seen_by_any(&Role::ALL), Sight::Masked);
    }

    #[test]
    fn who_has_nothing_to_do_with_members_sees_nothing_of_them() {
        for role in [Role::Administrator, Role::Partner, Role::Analyst, Role::App] {
            for field in MemberField::ALL {
                // the app is no person
                let is_apps = (role, *field) == (Role::App, MemberField::AddressedCard);
                let sight = if is_apps { Sight::Whole } else { Sight::Nothing };
                assert_eq!(field.seen_by(role), sight, "{role} {}", field.name());
            }
        }
        assert_eq!(MemberField::Phone.seen_by_any(&[]), Sight::Nothing);
    }

    #[test]
    fn every_field_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> =
            MemberField::ALL.iter().map(|field| field.name()).collect();
        assert_eq!(names.len(), MemberField::ALL.len());
    }
}
