//! Members' requests with their clocks, how they are answered, and the certificates of erasures.

use protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::members::{invalid, names};
use super::{ErrorKind, ListPage, ListRequest, Node, ServiceError, cut_page, page_length};
use crate::desk::{
    Deed, Desk, DeskError, Note, Request, RequestKey, RequestKind, RequestNumber, RequestState,
    RequestView, hex, request_view,
};
use crate::runtime::now;

/// A request of a member's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestRequest {
    /// `access`, `correction`, `erasure` or `explanation`.
    pub kind: String,
    /// The member's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

/// How a request is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// `done`: erases, where the request asks for that; else it says that it was done. `answered`: only
    /// stops the first clock. `refused`: with the reason that the law gives.
    pub outcome: String,
    /// Why it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A certificate and, once it is in the log, the receipt of its entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateView {
    /// The certificate, JSON as text: its SHA-256 over these bytes is in the brand's log.
    pub certificate: String,
    /// Its SHA-256, hexadecimal.
    pub hash: String,
    /// The receipt, a C2SP tlog-proof with the entry; none until the entry is certified.
    pub receipt: Option<String>,
}

fn request_id(text: &str) -> Result<RequestNumber, ServiceError> {
    RequestNumber::parse(text).ok_or_else(|| DeskError::UnknownRequest.into())
}

fn request_kind(text: &str) -> Result<RequestKind, ServiceError> {
    RequestKind::from_name(text).ok_or_else(|| {
        let kinds = names(RequestKind::ALL.map(RequestKind::name));
        invalid("request_kind", "there is no such kind of request", kinds)
    })
}

impl Node {
    /// Enters a request of a member's.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn open_request(
        &self,
        by: &str,
        card: String,
        request: RequestRequest,
    ) -> Result<RequestView, ServiceError> {
        let kind = request_kind(&request.kind)?;
        let (by, at) = (by.to_owned(), now());
        self.at_desk(move |desk| {
            let member = desk.member(&card)?;
            let what = format!("request for {} entered", kind.name());
            desk.note(Note::new(&by, Deed::Request, what).about(member), at)?;
            let opened = desk.open_request(&by, member, kind, request.words, at)?;
            Ok(request_view(&opened, at))
        })
        .await
    }

    /// Open requests, those that are due first; or all of one member.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn requests(
        &self,
        card: Option<String>,
        limit: u32,
    ) -> Result<Vec<RequestView>, ServiceError> {
        let request = ListRequest { place: None, limit };
        Ok(self.requests_page(request, card).await?.items)
    }

    /// Open requests, those that are due first; or all of one member, the oldest first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn requests_page(
        &self,
        request: ListRequest,
        card: Option<String>,
    ) -> Result<ListPage<RequestView>, ServiceError> {
        let name = if card.is_some() { "a member's requests" } else { "open requests" };
        let list = self.list(name);
        let after: Option<RequestKey> = list.read(&request)?;
        let (limit, at) = (page_length(request.limit), now());
        let rows = self.at_desk(move |desk| {
            let keyed: Vec<(RequestKey, Request)> = match card {
                Some(card) => {
                    let all = desk.requests_of(desk.member(&card)?)?;
                    let keyed =
                        all.into_iter().map(|request| ((request.opened, request.id), request));
                    keyed.filter(|(key, _)| after.is_none_or(|after| *key > after)).collect()
                }
                None => {
                    let open = desk.open_requests_after(after.as_ref(), limit.saturating_add(1))?;
                    open.into_iter().map(|request| (request.key(), request)).collect()
                }
            };
            let (requests, next) = cut_page(keyed, limit);
            let views = requests.iter().map(|request| request_view(request, at)).collect();
            Ok((views, next))
        });
        list.page(rows.await?)
    }

    /// One request.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn request(&self, id: String) -> Result<RequestView, ServiceError> {
        let (id, at) = (request_id(&id)?, now());
        self.at_desk(move |desk| Ok(request_view(&desk.request(id)?, at))).await
    }

    /// Answers a request: done, answered first, or refused.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn answer_request(
        &self,
        by: &str,
        id: String,
        answer: AnswerRequest,
    ) -> Result<RequestView, ServiceError> {
        let (id, by, at) = (request_id(&id)?, by.to_owned(), now());
        let outcomes = ["done", "answered", "refused"];
        if !outcomes.contains(&answer.outcome.as_str()) {
            return Err(invalid("outcome_unknown", "there is no such outcome", names(outcomes)));
        }
        let why = answer.why.filter(|why| !why.trim().is_empty());
        if answer.outcome == "refused" && why.is_none() {
            return Err(invalid(
                "reason_missing",
                "a refusal needs the reason that the law gives",
                "send it as why",
            ));
        }
        self.at_desk(move |desk| desk.answer(&by, id, &answer.outcome, why, at)).await
    }

    /// A certificate and, once it is in the log, its receipt.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn certificate(&self, hash: String) -> Result<CertificateView, ServiceError> {
        let unknown = || {
            ServiceError::new(
                ErrorKind::NotFound,
                "certificate_unknown",
                "there is no certificate with this hash",
                "ask by the SHA-256 of the certificate, in hexadecimal",
            )
        };
        let bytes = crate::desk::from_hex(&hash).and_then(|it| <[u8; 32]>::try_from(it).ok());
        let bytes = bytes.ok_or_else(unknown)?;
        let certificate = self.at_desk(move |desk| desk.certificate(&bytes)).await?;
        let certificate = certificate.ok_or_else(unknown)?;
        let receipt = match self.answered(bytes).await {
            Ok(receipt) => Some(receipt),
            Err(error) if error.code == "not_final" => None,
            Err(error) => return Err(error),
        };
        Ok(CertificateView { certificate, hash: hex(&bytes), receipt })
    }
}

impl Desk {
    /// Answers a request as an officer says.
    fn answer(
        &self,
        by: &str,
        id: RequestNumber,
        outcome: &str,
        why: Option<String>,
        at: Timestamp,
    ) -> Result<RequestView, DeskError> {
        let request = self.request(id)?;
        let what = format!("request for {}: {outcome}", request.kind.name());
        let note = Note::new(by, Deed::Request, what).about(request.member);
        self.note(note.changed(None, why.clone()), at)?;
        let request = match (outcome, why) {
            ("answered", _) => self.answer_request(id, at)?,
            ("refused", Some(why)) => {
                let state = RequestState::Refused { at, by: by.to_owned(), why };
                self.close_request(id, state, at)?
            }
            _ if request.kind == RequestKind::Erasure => {
                self.erase(by, id, at)?;
                self.request(id)?
            }
            _ => {
                let state = RequestState::Done { at, by: by.to_owned(), certificate: None };
                self.close_request(id, state, at)?
            }
        };
        Ok(request_view(&request, at))
    }
}
