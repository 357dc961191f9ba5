//! Endpoints of the environment, checked before anything is asked of them: a client would find out with its first request,
//! and then try again for long.

use url::Url;

/// Variables that a kind of store takes its endpoint from, the strongest first, and the one that allows http.
struct Variables {
    endpoints: &'static [&'static str],
    allow_http: &'static str,
}

const S3: Variables =
    Variables { endpoints: &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"], allow_http: "AWS_ALLOW_HTTP" };
const AZURE: Variables =
    Variables { endpoints: &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"], allow_http: "AZURE_ALLOW_HTTP" };

/// Says what is wrong with the endpoint for a scheme of URLs, by the name of its variable; the value may hold a secret.
pub(super) fn check(scheme: &str) -> Result<(), String> {
    let variable = |name: &str| std::env::var(name).ok();
    match scheme {
        "s3" | "s3a" => S3.check(variable),
        "az" | "azure" | "abfs" | "abfss" => AZURE.check(variable),
        _ => Ok(()),
    }
}

impl Variables {
    fn check(&self, variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        let set = self.endpoints.iter().find_map(|name| Some((name, variable(name)?)));
        let Some((name, value)) = set else { return Ok(()) };
        let address = Url::parse(&value).ok().filter(Url::has_host);
        let yes = ["true", "1", "on", "yes", "y"];
        let allows_http =
            variable(self.allow_http).is_some_and(|value| yes.contains(&value.to_ascii_lowercase().as_str()));
        match address.as_ref().map(Url::scheme) {
            Some("https") => Ok(()),
            Some("http") if allows_http => Ok(()),
            Some("http") => {
                Err(format!("{name} is an http address; set {}=true to send requests without TLS", self.allow_http))
            }
            _ => Err(format!("{name} is no address, which would look like https://host or https://host:port")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_by_the_name_of_the_variable() {
        let with = |pairs: &'static [(&str, &str)]| {
            S3.check(|name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(with(&[]), Ok(()));
        assert_eq!(with(&[("AWS_ENDPOINT", "https://localhost:9000")]), Ok(()));
        assert_eq!(with(&[("AWS_ENDPOINT", "http://localhost"), ("AWS_ALLOW_HTTP", "TRUE")]), Ok(()));
        let error = with(&[("AWS_ENDPOINT", "http://localhost")]).expect_err("http is not allowed");
        assert!(error.contains("AWS_ALLOW_HTTP=true"), "{error}");
        for value in ["not an address", "localhost:9000", "ftp://localhost", "https://", "hunter2", ""] {
            let name = "AWS_ENDPOINT_URL";
            let error = S3.check(|asked| (asked == name).then(|| value.to_owned())).expect_err(value);
            assert!(error.starts_with(name) && !error.contains("hunter2"), "{error}");
        }
        let both = with(&[("AWS_ENDPOINT", "nothing"), ("AWS_ENDPOINT_URL_S3", "https://localhost")]);
        assert_eq!(both, Ok(()), "the strongest counts");
    }
}
