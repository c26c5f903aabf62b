"""trunkline.features.v1.FeatureService: decode, one domain call, encode."""

from __future__ import annotations

from trunkline.features.v1 import features_pb2 as pb
from trunkline_features import convert
from trunkline_features.catalog import Catalog
from trunkline_features.online import OnlineStore
from trunkline_hop.call import Call


class FeatureService:
    """Views and the online values of their features.

    Args:
        catalog: of the views.
        online: of the values.
    """

    descriptor = pb.DESCRIPTOR.services_by_name["FeatureService"]

    def __init__(self, catalog: Catalog, online: OnlineStore) -> None:
        self._catalog = catalog
        self._online = online

    async def CreateFeatureView(
        self, request: pb.CreateFeatureViewRequest, call: Call
    ) -> pb.CreateFeatureViewResponse:
        """Declares a view."""
        wanted = convert.feature_view(request.feature_view, request.feature_view_id)
        created = await self._catalog.create(wanted, convert.mutation(request, request.request_id))
        return pb.CreateFeatureViewResponse(feature_view=convert.view_message(created))

    async def GetFeatureView(
        self, request: pb.GetFeatureViewRequest, call: Call
    ) -> pb.GetFeatureViewResponse:
        """Returns one view."""
        view = await self._catalog.get(convert.view_id(request.name, "name"))
        return pb.GetFeatureViewResponse(feature_view=convert.view_message(view))

    async def ListFeatureViews(
        self, request: pb.ListFeatureViewsRequest, call: Call
    ) -> pb.ListFeatureViewsResponse:
        """Lists views by name."""
        views, token = await self._catalog.list(request.page_size, request.page_token)
        messages = [convert.view_message(view) for view in views]
        return pb.ListFeatureViewsResponse(feature_views=messages, next_page_token=token)

    async def UpdateFeatureView(
        self, request: pb.UpdateFeatureViewRequest, call: Call
    ) -> pb.UpdateFeatureViewResponse:
        """Changes a view."""
        name = convert.view_id(request.feature_view.name, "feature_view.name")
        wanted = convert.feature_view(request.feature_view, name)
        updated = await self._catalog.update(
            wanted, request.update_mask.paths, convert.mutation(request, request.request_id)
        )
        return pb.UpdateFeatureViewResponse(feature_view=convert.view_message(updated))

    async def DeleteFeatureView(
        self, request: pb.DeleteFeatureViewRequest, call: Call
    ) -> pb.DeleteFeatureViewResponse:
        """Deletes a view."""
        await self._catalog.delete(
            convert.view_id(request.name, "name"), request.etag, convert.mutation(request, request.request_id)
        )
        return pb.DeleteFeatureViewResponse()

    async def WriteFeatures(self, request: pb.WriteFeaturesRequest, call: Call) -> pb.WriteFeaturesResponse:
        """Writes whole rows of one view."""
        written = await self._online.write(convert.write(request))
        return pb.WriteFeaturesResponse(written_count=written.written, superseded_count=written.superseded)

    async def GetOnlineFeatures(
        self, request: pb.GetOnlineFeaturesRequest, call: Call
    ) -> pb.GetOnlineFeaturesResponse:
        """Reads features of many entities."""
        table = await self._online.read(convert.query(request))
        for how in table.degraded:
            call.degraded(how)
        return convert.table(table)
