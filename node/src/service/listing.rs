//! Lists that come in pages: what a page is asked for, and where the next one begins.
//!
//! Every list has an order that neither time nor a restart changes, and each of its items a key in it. A page ends with
//! an item's key, and the next one begins behind that key: whoever walks the pages sees each item once, whatever comes to
//! the list meanwhile, unless it leaves the list; and a page costs what a page costs, wherever it is. To those outside a
//! key is a sealed text, the cursor, of which nothing is to be read: it is of one list of one node, and another's is refused.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::ids::{BrandId, LeafIndex, RequestId};
use protocol::time::Timestamp;
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    AdjustmentView, CaseView, ErrorKind, ExchangeView, IssuedCouponView, Node, QueryView,
    ReceivedView, ServiceError,
};
use crate::vault::DataKey;

/// Most characters of a cursor.
const CURSOR_MAX: usize = 1_024;

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Where it begins: the `next` of the page before; at the list's beginning without it.
    pub place: Option<String>,
    /// How many items at most.
    pub limit: u32,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage<T> {
    /// Its items, in the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; none at the list's end.
    pub next: Option<String>,
}

impl<T> Default for ListPage<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

/// Items of a page, and the key behind which the next page begins, if there is one.
pub type Rows<T, K> = (Vec<T>, Option<K>);
/// Behind which key a page begins, and how many items it has at most.
pub type Behind<K> = (Option<K>, u32);
/// A page of exchanges.
pub type ExchangeRows = Rows<ExchangeView, ExchangeKey>;
/// A page of those that came in.
pub type ReceivedRows = Rows<ReceivedView, ReceivedKey>;

/// An exchange's key among this brand's: when it was asked for, and its id.
pub type ExchangeKey = (Timestamp, RequestId);
/// The key of one that came in: until when it can go back, and where it is in its brand's log.
pub type ReceivedKey = (Timestamp, BrandId, LeafIndex);
/// A question's key, in the clean room's words.
pub type AnswerKey = ByteVec;
/// A coupon's key: when it was given, and what tells it from others of that moment without telling its code.
pub type CouponKey = (Timestamp, [u8; 16]);
/// The key of a case: when it is due, or how long before the end of time it was closed, and its number.
pub type CaseKey = (u64, u64);
/// The key of a member's question: whether it is answered, when it is due, and its number.
pub type ServiceRequestKey = (bool, u64, u64);

/// How far an exchange has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListedState {
    /// Points held, not in a final block.
    Held,
    /// In a final block.
    Final,
    /// Recognised by the other side.
    Acknowledged,
    /// Sent back by the other side.
    Returned,
    /// Never in a block.
    Withdrawn,
    /// In a block, and never counts.
    Void,
}

impl ListedState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Held, Self::Final, Self::Acknowledged, Self::Returned, Self::Withdrawn, Self::Void];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Final => "final",
            Self::Acknowledged => "acknowledged",
            Self::Returned => "returned",
            Self::Withdrawn => "withdrawn",
            Self::Void => "void",
        }
    }

    /// The state of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// Which exchanges are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExchangeFilter {
    /// To this brand; to any without it.
    pub to: Option<BrandId>,
    /// So far; however far without it.
    pub state: Option<ListedState>,
}

/// A list of one node, whose cursors are good nowhere else: they are sealed, so that nobody makes one, or reads in one
/// what the page does not show.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'n> {
    name: &'static str,
    brand: BrandId,
    sealing: &'n DataKey,
}

impl List<'_> {
    /// What a cursor opens for alone.
    fn bound_to(self) -> Vec<u8> {
        // no name has a zero byte in it
        format!("coalition list v0\0{}\0{}", self.name, self.brand).into_bytes()
    }

    fn cursor(self, key: &[u8]) -> Result<String, ServiceError> {
        let sealed = self.sealing.seal(key, &self.bound_to(), &SystemRandom::new());
        let sealed = sealed.map_err(|error| {
            tracing::error!(error = %error, "where the next page of a list begins could not be sealed");
            crate::runtime::core::internal()
        })?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    fn key(self, cursor: &str) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        let short = Some(cursor).filter(|cursor| cursor.len() <= CURSOR_MAX);
        let sealed = short.and_then(|cursor| URL_SAFE_NO_PAD.decode(cursor).ok());
        let key = sealed.and_then(|sealed| self.sealing.open(&sealed, &self.bound_to()).ok());
        key.ok_or_else(cursor_unknown)
    }

    /// The key that a page is asked for by.
    ///
    /// # Errors
    /// When the cursor is none of this list of this node.
    pub(super) fn read<K>(self, request: &ListRequest) -> Result<Option<K>, ServiceError>
    where
        K: for<'b> Decode<'b, ()> + Encode<()>,
    {
        let Some(cursor) = &request.place else { return Ok(None) };
        let key = self.key(cursor)?;
        codec::decode("a cursor", &key, CURSOR_MAX).map(Some).map_err(|_| cursor_unknown())
    }

    /// A page of these rows.
    ///
    /// # Errors
    /// When the system's random generator fails.
    pub(super) fn page<T, K: Encode<()>>(
        self,
        (items, next): Rows<T, K>,
    ) -> Result<ListPage<T>, ServiceError> {
        let next = next.map(|key| self.cursor(&codec::encode(&key))).transpose()?;
        Ok(ListPage { items, next })
    }
}

fn cursor_unknown() -> ServiceError {
    ServiceError::new(
        ErrorKind::Invalid,
        "cursor_unknown",
        "before or after is not where a page of this list of this node begins",
        "send what came with the page before, unchanged; without it the list begins anew",
    )
    .in_chinese(
        "before 或 after 不是本节点此列表某一页的起点",
        "请原样发送上一页给出的游标；不带游标则从头开始",
    )
}

/// How many items of a page, as a length.
pub(crate) fn page_length(limit: u32) -> usize {
    usize::try_from(limit.clamp(1, super::members::PAGE_MAX)).unwrap_or(1)
}

/// Of rows in order, one more than the page has if there is one, the page.
pub(crate) fn cut_page<K: Clone, T>(rows: Vec<(K, T)>, limit: usize) -> Rows<T, K> {
    let is_more = rows.len() > limit;
    let last = limit.checked_sub(1).filter(|_| is_more).and_then(|last| rows.get(last));
    let next = last.map(|(key, _)| key.clone());
    (rows.into_iter().take(limit).map(|(_, item)| item).collect(), next)
}

/// The page behind a key of what is in no order: no more is held than the page has.
pub(crate) fn page_after<K: Ord + Clone, T>(
    all: impl Iterator<Item = (K, T)>,
    after: Option<&K>,
    limit: usize,
) -> Rows<T, K> {
    let mut first: BTreeMap<K, T> = BTreeMap::new();
    for (key, item) in all.filter(|(key, _)| after.is_none_or(|after| key > after)) {
        let last = first.last_key_value().filter(|_| first.len() > limit);
        if last.is_none_or(|(last, _)| key < *last) {
            first.insert(key, item);
        }
        if first.len() > limit.saturating_add(1) {
            first.pop_last();
        }
    }
    cut_page(first.into_iter().collect(), limit)
}

impl Node {
    /// One of this node's lists.
    pub(super) fn list(&self, name: &'static str) -> List<'_> {
        List { name, brand: self.brand, sealing: &self.cursors }
    }

    /// Exchanges of this brand's members, newest first. Where few are wanted a page ends before it is full, once five
    /// hundred were looked at, and says where the next begins.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn exchanges_page(
        &self,
        request: ListRequest,
        wanted: ExchangeFilter,
    ) -> Result<ListPage<ExchangeView>, ServiceError> {
        let list = self.list("exchanges");
        let before = list.read(&request)?;
        list.page(self.listed_exchanges((before, request.limit), wanted).await?)
    }

    /// Exchanges that came in from other brands, newest first; of one member, if a card is given.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn received_page(
        &self,
        request: ListRequest,
        card: Option<String>,
    ) -> Result<ListPage<ReceivedView>, ServiceError> {
        let list = self.list("received");
        let before = list.read(&request)?;
        list.page(self.listed_received(card, (before, request.limit)).await?)
    }

    /// The latest exchanges that came in, newest first; of one member, if a card is given.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn received(
        &self,
        card: Option<String>,
        limit: u32,
    ) -> Result<Vec<ReceivedView>, ServiceError> {
        Ok(self.listed_received(card, (None, limit)).await?.0)
    }

    /// The questions of this brand, newest first, with the first rows of each answer; of those without one, what is in
    /// memory.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn queries_page(
        &self,
        request: ListRequest,
    ) -> Result<ListPage<QueryView>, ServiceError> {
        let list = self.list("queries");
        let before = list.read(&request)?;
        list.page(self.listed_queries(before, request.limit).await?)
    }

    /// Corrections, the latest first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn adjustments_page(
        &self,
        request: ListRequest,
    ) -> Result<ListPage<AdjustmentView>, ServiceError> {
        let list = self.list("adjustments");
        let before = list.read(&request)?;
        list.page(self.listed_adjustments(before, request.limit).await?)
    }

    /// The latest thousand corrections, the latest first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn adjustments(&self) -> Result<Vec<AdjustmentView>, ServiceError> {
        Ok(self.listed_adjustments(None, super::members::PAGE_MAX).await?.0)
    }

    /// Coupons of a kind or of all, the latest first, without their codes.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn coupons_page(
        &self,
        request: ListRequest,
        kind: Option<String>,
    ) -> Result<ListPage<IssuedCouponView>, ServiceError> {
        let list = self.list("coupons");
        let before = list.read(&request)?;
        list.page(self.listed_coupons(kind, before, request.limit).await?)
    }

    /// Open cases, the most urgent first; or those that are closed, the latest first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn cases_page(
        &self,
        request: ListRequest,
        closed: bool,
    ) -> Result<ListPage<CaseView>, ServiceError> {
        let list = self.list(if closed { "closed cases" } else { "open cases" });
        let after = list.read(&request)?;
        list.page(self.listed_cases(closed, after, request.limit).await?)
    }

    /// Every open case, the most urgent first; or the latest thousand that are closed, the latest first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn programme_cases(&self, closed: bool) -> Result<Vec<CaseView>, ServiceError> {
        let limit = if closed { super::members::PAGE_MAX } else { u32::MAX };
        Ok(self.listed_cases(closed, None, limit).await?.0)
    }

    /// Members' questions to the service, open ones first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn service_requests_page(
        &self,
        request: ListRequest,
    ) -> Result<ListPage<super::RequestView>, ServiceError> {
        let list = self.list("service requests");
        let after = list.read(&request)?;
        list.page(self.listed_service_requests(after, request.limit).await?)
    }

    /// The first thousand of members' questions to the service, open ones first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn programme_requests(&self) -> Result<Vec<super::RequestView>, ServiceError> {
        Ok(self.listed_service_requests(None, super::members::PAGE_MAX).await?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list<'n>(name: &'static str, brand: &str, sealing: &'n DataKey) -> List<'n> {
        List { name, brand: BrandId::new(brand).unwrap(), sealing }
    }

    fn request(place: &str) -> ListRequest {
        ListRequest { place: Some(place.to_owned()), limit: 1 }
    }

    #[test]
    fn a_cursor_is_good_for_its_list_of_its_node_and_for_no_other() {
        let (key, another) = (DataKey::from_bytes([7; 32]), DataKey::from_bytes([8; 32]));
        let own = list("breaches", "grocer", &key);
        let next = own.page((vec!["a"], Some(7_u64))).unwrap().next.unwrap();
        assert_eq!(own.read::<u64>(&request(&next)).unwrap(), Some(7));
        assert_eq!(own.read::<u64>(&ListRequest::default()).unwrap(), None);
        assert_eq!(own.page((vec!["a"], None::<u64>)).unwrap().next, None);
        let first = if next.starts_with('A') { "B" } else { "A" };
        let altered = format!("{first}{}", &next[1..]);
        let long = "A".repeat(CURSOR_MAX + 1);
        for (list, text) in [
            (list("assessments", "grocer", &key), next.as_str()),
            (list("breaches", "kids", &key), &next),
            // of a node of the same brand with another key, and made by somebody who has none
            (list("breaches", "grocer", &another), &next),
            (own, &URL_SAFE_NO_PAD.encode(codec::encode(&7_u64))),
            (own, &altered),
            (own, &format!("{next}A")),
            (own, ""),
            (own, "7"),
            (own, "中"),
            (own, &long),
        ] {
            let error = list.read::<u64>(&request(text)).unwrap_err();
            assert_eq!((error.kind, error.code), (ErrorKind::Invalid, "cursor_unknown"), "{text}");
        }
        // of this list, but of another form of it
        let pair = own.page((vec![""], Some((1_u64, 2_u64)))).unwrap().next.unwrap();
        assert!(own.read::<u64>(&request(&pair)).is_err());
        // nothing of a key is to be read in its cursor, and the longest there may be is read back
        let text = b"what a page does not show".repeat(20);
        let next = own.page((vec![""], Some(ByteVec::from(text.clone())))).unwrap().next.unwrap();
        let sealed = URL_SAFE_NO_PAD.decode(&next).unwrap();
        assert!(!sealed.windows(8).any(|part| text.windows(8).any(|clear| clear == part)));
        assert_eq!(own.read::<ByteVec>(&request(&next)).unwrap(), Some(ByteVec::from(text)));
    }

    #[test]
    fn pages_of_what_is_in_no_order_have_every_item_once_in_order() {
        let mut all: Vec<u64> = (0..50).map(|number| number * 37 % 50).collect();
        for limit in [1, 3, 49, 50, 51] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let rows = all.iter().map(|it| (*it, *it));
                let (page, next) = page_after(rows, after.as_ref(), limit);
                assert!(page.len() <= limit && !page.is_empty());
                seen.extend(page);
                // what comes before the place is of no page that follows
                all.push(seen.last().copied().unwrap());
                let Some(next) = next else { break };
                after = Some(next);
            }
            all.truncate(50);
            assert_eq!(seen, (0..50).collect::<Vec<_>>(), "{limit}");
        }
    }
}
