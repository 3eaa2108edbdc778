"""A client that knows nothing of Cistern, made of the libraries that the stores' makers publish.

    plain_client.py s3|azure get|put URL/BUCKET KEY

`put` stores standard input, in several parts where it is long; `get` writes the object to standard output.
"""

import shutil
import sys

ACCOUNT = "devstoreaccount1"
# The key of every Azurite, from its documentation.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
# The smallest part S3 takes, in bytes.
PART_BYTES = 5 << 20


def s3(verb: str, endpoint: str, bucket: str, key: str) -> None:
    import boto3
    from boto3.s3.transfer import TransferConfig

    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1"
    )
    if verb == "put":
        # One at a time: the emulator answers no more.
        parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)
        client.upload_fileobj(sys.stdin.buffer, bucket, key, Config=parts)
    else:
        shutil.copyfileobj(client.get_object(Bucket=bucket, Key=key)["Body"], sys.stdout.buffer)


def azure(verb: str, endpoint: str, bucket: str, key: str) -> None:
    from azure.storage.blob import BlobServiceClient

    credential = {"account_name": ACCOUNT, "account_key": AZURITE_KEY}
    sizes = {"max_single_put_size": PART_BYTES, "max_block_size": PART_BYTES}
    blob = BlobServiceClient(endpoint, credential, **sizes).get_blob_client(bucket, key)
    if verb == "put":
        blob.upload_blob(sys.stdin.buffer)
    else:
        blob.download_blob().readinto(sys.stdout.buffer)


if __name__ == "__main__":
    kind, verb, url, key = sys.argv[1:]
    {"s3": s3, "azure": azure}[kind](verb, *url.rsplit("/", 1), key)
