"""The formats of API keys and tokens that services issue, each with a mark by which it is known.

One row for each format: the service, then the format as a regular expression. A test generates keys
of every row, and ordinary numbers, identifiers, hashes and words, which none may match.
"""

import re

# `\w` is ASCII here. The last part of a row is greedy, so that no rest of a key stays.
SECRET_FORMATS: dict[str, str] = {
    # models
    "OpenAI, Anthropic, OpenRouter": r"sk-(?:live|test|proj|svcacct|admin|ant|or)-[\w-]{10,}",
    # A word of a sentence in one piece may begin so too, but has no digit.
    "OpenAI, Langfuse": r"sk-(?=[\w-]*\d)[\w-]{20,}",
    "Groq": r"gsk_\w{20,}",
    "xAI": r"xai-\w{20,}",
    "Perplexity": r"pplx-\w{32,}",
    "Replicate": r"r8_\w{30,}",
    "Hugging Face": r"(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "Fireworks": r"fw_[A-Za-z0-9]{22,}",
    "LangSmith": r"(?:lsv2_(?:pt|sk)|ls__?)_[a-f0-9][a-f0-9_]{31,}",
    "Pinecone": r"pcsk_\w{40,}",
    "Tavily": r"tvly-[\w-]{20,}",
    # BIGHUB
    "BIGHUB": r"(?:bh|bhk|bighub)(?:_live|_test)?_[\w-]{20,}",
    # code and packages
    "GitHub": r"gh[oprsu]_[A-Za-z0-9]{30,}",
    "GitHub, fine-grained": r"github_pat_\w{22,}",
    "GitLab": r"gl(?:pat|ptt|rt|rtr|cbt|dt|ft|soat|imt|agent|oas|ffct|wt)-[\w.=-]{20,}",
    "GitLab, runners": r"GR1348941[\w-]{20,}",
    "Bitbucket, Atlassian": r"AT(?:ATT3|CTT3|BB)[\w=-]{20,}",
    "npm": r"npm_[A-Za-z0-9]{36,}",
    "PyPI": r"pypi-[\w-]{50,}",
    "RubyGems": r"rubygems_[a-f0-9]{48}",
    "Docker": r"dckr_(?:pat|oat)_[\w-]{20,}",
    "Artifactory": r"AKCp[A-Za-z0-9]{60,}",
    "SonarQube": r"sq[apu]_[a-f0-9]{40}",
    "Postman": r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
    "Figma": r"fig[dou]_?[dour]?_[\w-]{36,}",
    # clouds
    "AWS": r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
    "Google": r"AIza[\w-]{35,}",
    "Google, OAuth": r"(?:ya29\.|GOCSPX-|1//0)[\w-]{20,}",
    "Azure, storage": r"(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,}={0,2}",
    "Azure, applications": r"[\w~.-]{3}[78]Q~[\w~.-]{31,}",
    "Alibaba": r"LTAI[A-Za-z0-9]{16,}",
    "DigitalOcean": r"do[opr]_v1_[a-f0-9]{64}",
    "Heroku": r"HRKU-[\w-]{30,}",
    "Netlify": r"nfp_[A-Za-z0-9]{36,}",
    "Fly": r"(?:fo1_|fm[12]r?_)[\w+/=-]{30,}",
    "Vercel": r"vc[apikr]_[A-Za-z0-9]{24,}",
    "Supabase": r"(?:sbp_(?:v\d_)?[a-f0-9]{40}|sb_secret_[\w-]{20,})",
    "PlanetScale": r"pscale_(?:tkn|oauth|pw)_[\w.=-]{32,}",
    "Databricks": r"dapi[a-f0-9]{32}(?:-\d)?",
    "Doppler": r"dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{40,}",
    "HashiCorp Vault": r"hv[bsr]\.[\w-]{24,}",
    "HashiCorp Terraform": r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,}",
    "Pulumi": r"pul-[a-f0-9]{40}",
    "age": r"AGE-SECRET-KEY-1[A-Z0-9]{58}",
    "1Password": r"ops_eyJ[\w+/=-]{50,}",
    # monitoring
    "Grafana": r"gl(?:sa|c)_[\w+/=-]{32,}",
    "New Relic": r"NR(?:AK|JS|II|RA)-[\w-]{19,}",
    "Sentry": r"sntry[su]_[\w+/=-]{40,}",
    "Dynatrace": r"dt0[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{64}",
    # messages
    "Slack": r"xox[abceoprs](?:\.xox[bp])?-[\w-]{11,}",
    "Slack, applications": r"xapp-\d-[\w-]{20,}",
    "Slack, hooks": r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w+/]{20,}",
    "Discord": r"[MNO][A-Za-z0-9_-]{23,27}\.[\w-]{6}\.[\w-]{27,}",
    "Telegram": r"\d{8,10}:AA[\w-]{33}",
    "Twilio": r"SK[a-f0-9]{32}",
    "SendGrid": r"SG\.[\w-]{16,}\.[\w-]{16,}",
    "Mailgun": r"(?:pub)?key-[a-f0-9]{32}",
    "Mailchimp": r"[a-f0-9]{32}-us\d{1,2}",
    "Brevo": r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}",
    "Resend": r"re_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}",
    # payments and shops
    "Stripe": r"(?:[rps]k|ek)[_-](?:live|test|prod)[_-][A-Za-z0-9]{10,}",
    "Stripe, hooks": r"whsec_[A-Za-z0-9+/=]{24,}",
    "Square": r"(?:sq0[a-z]{3}-[\w-]{22,}|EAAA[\w-]{60,})",
    "Plaid": r"(?:access|public)-(?:sandbox|development|production)-[a-f0-9-]{36}",
    "Flutterwave": r"FLW(?:PUB|SEC)K(?:_TEST)?-[a-f0-9]{32}-X",
    "Razorpay": r"rzp_(?:live|test)_[A-Za-z0-9]{14,}",
    "Shopify": r"shp(?:at|ca|pa|ss|tka)_[a-fA-F0-9]{32}",
    "Shippo": r"shippo_(?:live|test)_[a-f0-9]{40}",
    "Duffel": r"duffel_(?:live|test)_[\w=-]{43,}",
    "EasyPost": r"EZ[AT]K[A-Za-z0-9]{54}",
    # work
    "Notion": r"(?:secret_[A-Za-z0-9]{43}|ntn_[A-Za-z0-9]{40,})",
    "Linear": r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}",
    "Airtable": r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}",
    "Dropbox": r"sl\.(?:u\.)?[\w=-]{100,}",
    "Facebook": r"EAA[A-Za-z0-9]{80,}",
    "Typeform": r"tfp_[\w.=-]{40,}",
    "ReadMe": r"rdme_[a-z0-9]{70}",
    "HubSpot": r"pat-[a-z]{2}\d-[a-f0-9-]{36}",
    # any
    "JSON Web Token": r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
}

SECRET_FORMAT = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(SECRET_FORMATS.values())})", re.ASCII)
