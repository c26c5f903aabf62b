-- Models, versions and the feed of serving sets.

CREATE TABLE models (
    model_id     text COLLATE "C" PRIMARY KEY,
    display_name text        NOT NULL,
    description  text        NOT NULL,
    labels       jsonb       NOT NULL,
    create_time  timestamptz NOT NULL,
    update_time  timestamptz NOT NULL,
    etag         text        NOT NULL DEFAULT gen_random_uuid()::text,
    last_version integer     NOT NULL DEFAULT 0
);

CREATE TABLE versions (
    model_id    text COLLATE "C" NOT NULL REFERENCES models,
    version     integer     NOT NULL CHECK (version > 0),
    format      text        NOT NULL CHECK (format IN ('ONNX', 'OPENVINO_IR', 'SAFETENSORS', 'LIGHTGBM_TEXT')),
    files       jsonb       NOT NULL,
    digest      text        NOT NULL,
    size_bytes  bigint      NOT NULL,
    card        text        NOT NULL,
    labels      jsonb       NOT NULL,
    create_time timestamptz NOT NULL,
    stage       text        NOT NULL CHECK (stage IN ('DEVELOPMENT', 'STAGING', 'PRODUCTION', 'ARCHIVED')),
    stage_time  timestamptz NOT NULL,
    etag        text        NOT NULL DEFAULT gen_random_uuid()::text,
    PRIMARY KEY (model_id, version)
);

-- What no code can get around: one version in production, and versions that never change.
CREATE UNIQUE INDEX versions_one_in_production ON versions (model_id) WHERE stage = 'PRODUCTION';

CREATE FUNCTION refuse_version_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.model_id, OLD.version, OLD.format, OLD.files, OLD.digest, OLD.size_bytes, OLD.card, OLD.labels,
        OLD.create_time)
        IS DISTINCT FROM
       (NEW.model_id, NEW.version, NEW.format, NEW.files, NEW.digest, NEW.size_bytes, NEW.card, NEW.labels,
        NEW.create_time)
    THEN
        RAISE EXCEPTION 'of a version only the stage changes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER versions_immutable BEFORE UPDATE ON versions
    FOR EACH ROW EXECUTE FUNCTION refuse_version_change();

-- One row. Whoever publishes locks it until commit, so revisions are gapless and in the order of commits.
CREATE TABLE feed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    store    text   NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''),
    revision bigint NOT NULL DEFAULT 0
);
INSERT INTO feed DEFAULT VALUES;

CREATE TABLE changes (
    revision    bigint PRIMARY KEY,
    model_id    text COLLATE "C" NOT NULL REFERENCES models,
    serving     jsonb NOT NULL
);
CREATE INDEX changes_by_model ON changes (model_id, revision DESC);

-- Answers to requests that may come again.
CREATE TABLE requests (
    method      text        NOT NULL,
    request_id  text        NOT NULL,
    fingerprint bytea       NOT NULL,
    answer      bytea,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (method, request_id)
);
CREATE INDEX requests_by_time ON requests (create_time);
