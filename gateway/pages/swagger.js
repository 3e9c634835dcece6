// Starts Swagger UI on /docs.
SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#contract",
    deepLinking: true,
    validatorUrl: null, // the public validator is somebody else's host
    presets: [SwaggerUIBundle.presets.apis],
});
