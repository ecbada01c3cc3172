//! Files that a browser sends with a form: `multipart/form-data` (RFC 7578), whole in memory and within a size.
//!
//! As much of it as browsers send for a form with fields for files: parts with a name, their bytes as they are. No
//! file is written here, and no name that the sender gives a file is used.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};

use super::Problem;

/// Most bytes of a form: a constitution (1 MiB), its signatures (64 KiB), and what is around them.
pub(super) const FILES_BYTES_MAX: usize = 1024 * 1024 + 64 * 1024 + 16 * 1024;
/// Most parts of a form.
const PARTS_MAX: usize = 8;
/// Longest text between two parts (RFC 2046, section 5.1.1).
const BOUNDARY_MAX: usize = 70;

/// The parts of a form, by their names.
pub(super) struct Files(Vec<(String, Bytes)>);

impl Files {
    /// The text of a file; none when none was chosen.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        let found = self.0.iter().find(|(of, bytes)| of == name && !bytes.is_empty());
        let Some((_, bytes)) = found else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "file_not_text",
                "the file is not text in UTF-8 / 文件不是 UTF-8 文本",
                "choose the file as its author sent it / 请选择作者发来的原文件",
            )
        })?;
        Ok(Some(text.to_owned()))
    }
}

impl<S: Send + Sync> FromRequest<S> for Files {
    type Rejection = Problem;
    async fn from_request(mut request: Request, state: &S) -> Result<Self, Problem> {
        let boundary = boundary(request.headers()).ok_or_else(|| {
            Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "files_expected",
                "the header Content-Type names no multipart/form-data with a boundary",
                "use the form of the page",
            )
        })?;
        DefaultBodyLimit::max(FILES_BYTES_MAX).apply(&mut request);
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                return Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body_too_large",
                    format!("the files have more than {FILES_BYTES_MAX} bytes / 文件超过 {FILES_BYTES_MAX} 字节"),
                    "a constitution or a report has at most 1 MiB, signatures 64 KiB / 章程或报告不超过 1 MiB，签名不超过 64 KiB",
                );
            }
            Problem::new(
                StatusCode::BAD_REQUEST,
                "body_incomplete",
                "the body was not received whole",
                "send the form again",
            )
        })?;
        let parts = parts(&body, &boundary).ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "form_malformed",
                "the form is not one of a page of this node",
                "load the page again and choose the file once more",
            )
        })?;
        Ok(Self(parts))
    }
}

/// What stands between the parts, by the header.
fn boundary(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let mut pieces = value.split(';').map(str::trim);
    if !pieces.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = pieces.find_map(|piece| {
        let (name, value) = piece.split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    })?;
    let is_one = (1..=BOUNDARY_MAX).contains(&boundary.len())
        && boundary.bytes().all(|byte| byte.is_ascii_graphic());
    is_one.then(|| boundary.to_owned())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The parts of a body; none when it is not of the form.
fn parts(body: &Bytes, boundary: &str) -> Option<Vec<(String, Bytes)>> {
    let between = format!("\r\n--{boundary}");
    let first = between.trim_start().as_bytes();
    let mut rest = body.slice_ref(body.strip_prefix(first)?);
    let mut parts = Vec::new();
    loop {
        // the last boundary ends with two hyphens, what comes after it says nothing
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        if parts.len() >= PARTS_MAX {
            return None;
        }
        let part = rest.slice_ref(rest.strip_prefix(b"\r\n")?);
        let head_ends = find(&part, b"\r\n\r\n")?;
        let name = name(std::str::from_utf8(part.get(..head_ends)?).ok()?)?;
        let content = part.slice(head_ends.checked_add(4)?..);
        let ends = find(&content, between.as_bytes())?;
        parts.push((name, content.slice(..ends)));
        rest = content.slice(ends.checked_add(between.len())?..);
    }
}

/// The name of a part, by its head.
fn name(head: &str) -> Option<String> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let mut pieces = disposition.split(';').map(str::trim);
    if !pieces.next()?.eq_ignore_ascii_case("form-data") {
        return None;
    }
    let quoted = pieces.find_map(|piece| piece.strip_prefix("name=\""))?;
    Some(quoted.strip_suffix('"')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "--x1\r\nContent-Disposition: form-data; name=\"constitution\"; filename=\"c; name=.toml\"\r\n\
        Content-Type: application/octet-stream\r\n\r\na = 1\r\n--x\r\n\r\n--x1\r\n\
        content-disposition: form-data; name=\"signatures\"; filename=\"\"\r\n\r\n\r\n--x1--\r\n";

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())])
    }

    #[test]
    fn files_come_as_they_are() {
        let found = parts(&Bytes::from_static(BODY.as_bytes()), "x1").unwrap();
        let found: Vec<(&str, &[u8])> =
            found.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
        // a line that only looks like the boundary is the file's
        assert_eq!(found, [("constitution", &b"a = 1\r\n--x\r\n"[..]), ("signatures", &b""[..])]);
        let files = Files(parts(&Bytes::from_static(BODY.as_bytes()), "x1").unwrap());
        assert_eq!(files.text("constitution").unwrap().as_deref(), Some("a = 1\r\n--x\r\n"));
        assert_eq!(files.text("signatures").unwrap(), None, "no file was chosen");
        assert_eq!(files.text("other").unwrap(), None);
        let binary = Files(vec![("constitution".to_owned(), Bytes::from_static(b"\xff"))]);
        assert_eq!(binary.text("constitution").unwrap_err().code, "file_not_text");
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let cut = |until: usize| parts(&Bytes::copy_from_slice(&BODY.as_bytes()[..until]), "x1");
        for until in 0..BODY.len() - 4 {
            assert_eq!(cut(until), None, "{until}");
        }
        assert!(parts(&Bytes::from_static(BODY.as_bytes()), "x2").is_none());
        let many = format!(
            "--x1{}--",
            "\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n\r\n--x1".repeat(9)
        );
        assert_eq!(parts(&Bytes::from(many), "x1"), None);
        let nameless = "--x1\r\ncontent-type: text/plain\r\n\r\na\r\n--x1--";
        assert_eq!(parts(&Bytes::from_static(nameless.as_bytes()), "x1"), None);
    }

    #[test]
    fn the_boundary_is_read_from_the_header() {
        let of = |value: &str| boundary(&headers(value));
        assert_eq!(of("multipart/form-data; boundary=----Web1").as_deref(), Some("----Web1"));
        assert_eq!(of("Multipart/Form-Data; Boundary=\"a b\""), None);
        assert_eq!(
            of("multipart/form-data; charset=utf-8; boundary=\"ab\"").as_deref(),
            Some("ab")
        );
        for wrong in
            ["multipart/form-data", "text/plain; boundary=a", "multipart/form-data; boundary="]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(of(&format!("multipart/form-data; boundary={}", "x".repeat(71))), None);
    }
}
