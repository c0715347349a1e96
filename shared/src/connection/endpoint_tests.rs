use super::*;

fn shown(url: &str) -> String {
    Endpoint::parse(url).unwrap_or_else(|error| panic!("{error}")).to_string()
}

#[test]
fn urls_are_read_and_shown_without_the_password() {
    assert_eq!(shown("redis://127.0.0.1"), "redis://127.0.0.1:6379");
    assert_eq!(shown("redis://example.org:7000/3"), "redis://example.org:7000/3");
    assert_eq!(shown("redis://[::1]:7000/"), "redis://[::1]:7000");
    assert_eq!(shown("redis://[fe80::1]"), "redis://[fe80::1]:6379");
    assert_eq!(shown("redis://:secret@host"), "redis://:***@host:6379");
    assert_eq!(shown("redis://anna:se%40cret@host/1"), "redis://anna:***@host:6379/1");
    assert_eq!(shown("redis+unix:///run/redis.sock?db=2&pass=secret"), "redis+unix:///run/redis.sock?db=2");
    assert_eq!(shown("unix:///run/a%20b"), "redis+unix:///run/a b");
    assert_eq!(shown("redis+sentinel://a,b:7000,[::1]/main"), "redis+sentinel://a:26379,b:7000,[::1]:26379/main");
    let secrets = "redis+sentinel://anna:secret@a/main/2?sentinel_user=s&sentinel_password=other";
    assert_eq!(shown(secrets), "redis+sentinel://anna:***@a:26379/main/2");
}

#[test]
fn login_parts_are_decoded() {
    let endpoint = Endpoint::parse("redis://an%3Ana:p%40ss/w@rd@host").unwrap();
    assert_eq!(endpoint.login.user.as_deref(), Some("an:na"));
    assert_eq!(endpoint.login.password.as_deref(), Some("p@ss/w@rd"));
    assert!(endpoint.has_password());
    assert!(!format!("{endpoint:?}").contains("p@ss"));
    let Way::Straight(info) = endpoint.way(&Timeouts::default()) else { panic!("no sentinel is named") };
    assert_eq!(info.redis_settings().password(), Some("p@ss/w@rd"));
    assert!(info.tcp_settings().nodelay());
}

#[test]
fn sentinels_and_their_master_have_logins_of_their_own() {
    let endpoint = Endpoint::parse("redis+sentinel://a:1,b/ma%20in/3?sentinel_password=p%26ss").unwrap();
    assert!(endpoint.has_password(), "a sentinel's password is one");
    let Way::Ask(sentinels) = endpoint.way(&Timeouts::default()) else { panic!("sentinels are named") };
    assert_eq!((sentinels.service.as_str(), sentinels.nodes.len()), ("ma in", 2));
    let info = sentinels.at(&sentinels.nodes[1], &Timeouts::default());
    assert_eq!((info.redis_settings().password(), info.redis_settings().db()), (Some("p&ss"), 0));
    assert_eq!(info.addr().to_string(), "b:26379");
    let master = endpoint.at(&sentinels.nodes[0], &Timeouts::default());
    assert_eq!((master.redis_settings().password(), master.redis_settings().db()), (None, 3));
}

#[test]
fn what_cannot_be_read_is_named_without_the_password() {
    let cases = [
        ("127.0.0.1:6379", "it has no scheme"),
        ("http://:secret@host", "scheme is unknown"),
        ("redis://", "the host is missing"),
        ("redis://:secret@", "the host is missing"),
        ("redis://host:0", "1 to 65535"),
        ("redis://:secret@host:99999", "1 to 65535"),
        ("redis://::1", "must stand in []"),
        ("redis://[::1", "']'"),
        ("redis://[nonsense]", "no IPv6"),
        ("redis://host/x", "must be a number"),
        ("redis://secret@host", "password is missing"),
        ("redis://:secret%zz@host", "encoded byte"),
        ("redis://host?x=1", "parameters"),
        ("redis+unix://relative", "absolute path"),
        ("redis+unix:///s?pass=secret&x=1", "may only be"),
        ("secret@host", "it has no scheme"),
        ("redis://:secret", "the host is missing"),
        ("redis://anna:secret/more", "1 to 65535"),
        ("redis://anna:my/secret", "1 to 65535"),
        ("redis://anna:12/secret", "must be a number"),
        ("anna:secret", "it has no scheme"),
        ("redis://:a@b:secret", "1 to 65535"),
        ("redis://host?password=secret", "parameters"),
        ("redis://host?password=a@secret", ""),
        ("redis://host#secret", "parameters"),
        ("redis+unix:///s?pass=%zz@secret", "encoded byte"),
        ("redis+unix:///s?token=secret", "may only be"),
        ("redis+sentinel://host", "name of the master"),
        ("redis+sentinel://:secret@host:1/", "name of the master"),
        ("redis+sentinel://host,/main", "the host is missing"),
        ("redis+sentinel://a:x,b/main", "1 to 65535"),
        ("redis+sentinel://a:1,b:2/main/x", "must be a number"),
        ("redis+sentinel://a/main?password=secret", "may only be"),
        ("redis+sentinel://a/main?sentinel_password=%zz@secret", "encoded byte"),
    ];
    for (url, why) in cases {
        let text = Endpoint::parse(url).unwrap_err().to_string();
        assert!(text.contains(why), "{url}: {text}");
        assert!(!text.contains("secret") && !text.contains('\n'), "{url}: {text}");
    }
}

#[test]
fn what_is_no_secret_is_shown() {
    let text = |url: &str| Endpoint::parse(url).unwrap_err().to_string();
    assert!(text("redis://host:99999/1").contains("redis://host:99999/1"));
    assert!(text("redis://[::1]:0").contains("redis://[::1]:0"));
    assert!(text("redis+unix:///run/a:b?x=1").contains("redis+unix:///run/a:b?***"));
}

#[test]
fn tls_is_refused_with_the_reason() {
    let text = Endpoint::parse("rediss://:secret@host").unwrap_err().to_string();
    assert_eq!(text, "rediss://***@host asks for TLS, which this build does not have: use redis://, or a TLS tunnel");
}
