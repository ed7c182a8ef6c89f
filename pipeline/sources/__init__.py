"""Where pictures come from: folders, listings, webdataset tars, Parquet with image bytes."""

from pipeline.sources.listing import Listing, list_members

__all__ = ["Listing", "list_members"]
