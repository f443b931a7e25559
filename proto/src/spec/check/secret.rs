//! Secrets in addresses: what a spec says is stored, shown and published.

use super::{Finding, finding};

/// What in an address may be a secret, and is none of ours to keep; none of an address that is fine. Its words don't repeat it.
pub fn secret(address: &str) -> Option<&'static str> {
    let (scheme, rest) = address.split_once("://")?;
    if scheme == "file" || scheme == "hf" {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let credentials = authority.rsplit_once('@').map(|(before, _)| before);
    // Azure writes `container@account`.
    if credentials.is_some_and(|before| before.contains(':')) {
        return Some("has a password in it");
    }
    rest.contains('?').then_some("has a query, in which a signature or token may stand")
}

/// Checks that a field's address has no secret.
///
/// # Errors
/// It has one.
pub(super) fn no_secret(field: impl Into<String>, address: &str) -> Result<(), Finding> {
    match secret(address) {
        None => Ok(()),
        Some(what) => finding(field, format!("{what}, and the spec is stored and shown in reports: leave it out; {FROM}")),
    }
}

/// Where credentials are taken from.
pub const FROM: &str = "credentials come from environment variables such as AWS_ACCESS_KEY_ID";

#[cfg(test)]
mod tests {
    use super::secret;

    #[test]
    fn passwords_and_queries_are_found_and_what_looks_like_them_is_not() {
        for fine in [
            "rows.jsonl",
            "a?b#c@d:e",
            "s3://bucket/prefix",
            "abfss://container@account.dfs.core.windows.net/path",
            "hf://datasets/OWNER/NAME@main/data/a:b?.csv",
            "file:///a/b?c:d@e",
            "http://localhost:9000/bucket/a@b:c",
            "s3://bucket/a:b@c",
        ] {
            assert_eq!(secret(fine), None, "{fine}");
        }
        for (bad, what) in
            [("s3://KEY:SECRET@bucket/p", "password"), ("https://u:p@host", "password"), ("s3://bucket/p?sig=SECRET", "query")]
        {
            let said = secret(bad).unwrap();
            assert!(said.contains(what) && !said.contains("SECRET"), "{bad}: {said}");
        }
    }
}
